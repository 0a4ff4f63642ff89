"""Cleans text from outside for the transcript, and for tokenizers and servers."""

import re
from hashlib import blake2b

_ID_CHARS = 100
_INDENT = "    "
_NOT_IN_CITES = str.maketrans({character: f"&#{ord(character)};" for character in ',">'})
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]")


def clean(text: str) -> str:
    """One line without control characters and without `<`, so that it can neither open nor close a tag."""
    return " ".join(_CONTROL.sub("�", text).split()).replace("<", "&lt;")


def shown_id(document_id: str) -> str:
    """A document's id as policies see it: they can name it in a call, and in the `cites` of an answer.

    The end of a long one becomes a hash of the whole, so that it is still the id of one document.
    """
    shown = clean(document_id).translate(_NOT_IN_CITES)
    if len(shown) <= _ID_CHARS:
        return shown
    return f"{shown[: _ID_CHARS // 2]}…{blake2b(shown.encode(), digest_size=6).hexdigest()}"


def clean_lines(text: str) -> str:
    """As `clean`, but keeps line breaks. All lines but the first are indented, unlike those of the environment."""
    lines: list[str] = []
    for line in text.splitlines():
        cleaned = clean(line)
        if lines and cleaned:
            lines.append(_INDENT + _indentation(line) + cleaned)
        elif cleaned or (lines and lines[-1]):  # several blank lines become one
            lines.append(cleaned)
    return "\n".join(lines).rstrip()


def cut(line: str, most: int) -> str:
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def after_thinking(reply: str) -> str:
    """What a model replies after its thinking, which may be unclosed: then nothing.

    A closing tag without an opening one may be a quotation.
    """
    return reply.partition("</think>")[2] if reply.lstrip().startswith("<think>") else reply


def well_formed(text: str) -> str:
    """Replaces lone surrogates, which have no UTF-8 form, by U+FFFD."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _indentation(line: str) -> str:
    """The indentation of code, a list or a quote, as spaces."""
    return " " * len(line[: len(line) - len(line.lstrip())].expandtabs(4))
