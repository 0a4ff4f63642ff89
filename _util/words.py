"""Words of a text in any script, in one form."""

import re
import unicodedata

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # written without spaces: each sign counts as a word
_WORD = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")


def folded(text: str) -> str:
    """Case and the several ways to write one character set aside; ASCII, the common case, is quick."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


def words(folded_text: str) -> list[str]:
    return _WORD.findall(folded_text)
