"""Porter's stemmer with the changes of its author's later releases, exactly as in Lucene.

Snowball's `porter` differs on `possibly`, `geology`, `trekking` and two-letter words, which would change rankings.
M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980.
"""

import re

_STEP_2 = {
    "ational": "ate", "tional": "tion", "enci": "ence", "anci": "ance", "izer": "ize", "bli": "ble", "alli": "al",
    "entli": "ent", "eli": "e", "ousli": "ous", "ization": "ize", "ation": "ate", "ator": "ate", "alism": "al",
    "iveness": "ive", "fulness": "ful", "ousness": "ous", "aliti": "al", "iviti": "ive", "biliti": "ble",
    "logi": "log",
}  # fmt: skip
_STEP_3 = {"icate": "ic", "ative": "", "alize": "al", "iciti": "ic", "ical": "ic", "ful": "", "ness": ""}
_STEP_4 = (
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "(?<=[st])ion", "ou", "ism",
    "ate", "iti", "ous", "ive", "ize",
)  # fmt: skip


def _ending(suffixes: "dict[str, str] | tuple[str, ...]") -> re.Pattern[str]:
    """Matches stem and suffix. The stem is lazy, so that the suffix is the longest possible."""
    return re.compile(rf"(.*?)({'|'.join(suffixes)})", re.DOTALL)


_SPLIT_2, _SPLIT_3, _SPLIT_4 = _ending(_STEP_2), _ending(_STEP_3), _ending(_STEP_4)


def stem(word: str) -> str:
    """The stem of a lower-case word."""
    if len(word.encode("utf-16-le", "surrogatepass")) < 6:
        return word  # Lucene does not stem words of one or two UTF-16 units
    word = _participle(_plural(word))
    if word.endswith("y") and "v" in _shape(word[:-1]):
        word = word[:-1] + "i"
    word = _replace(word, _SPLIT_2, _STEP_2)
    word = _replace(word, _SPLIT_3, _STEP_3)
    parts = _SPLIT_4.fullmatch(word)
    if parts and _measure(parts[1]) > 1:
        word = parts[1]
    return _tidy(word)


def _plural(word: str) -> str:
    if word.endswith(("sses", "ies")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _participle(word: str) -> str:
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    base = word.removesuffix("ed") if word.endswith("ed") else word.removesuffix("ing")
    if base == word or "v" not in _shape(base):
        return word
    if base.endswith(("at", "bl", "iz")):
        return base + "e"
    if _doubled(base):
        return base if base[-1] in "lsz" else base[:-1]
    return base + "e" if _measure(base) == 1 and _short(base) else base


def _replace(word: str, split: re.Pattern[str], endings: dict[str, str]) -> str:
    parts = split.fullmatch(word)
    return parts[1] + endings[parts[2]] if parts and _measure(parts[1]) > 0 else word


def _tidy(word: str) -> str:
    """Removes a final e and a doubled l."""
    measure = _measure(word)
    if word.endswith("e") and (measure > 1 or (measure == 1 and not _short(word[:-1]))):
        word = word[:-1]
    return word[:-1] if word.endswith("ll") and measure > 1 else word


def _shape(word: str) -> str:
    """`c` for each consonant, `v` for each vowel; y is a vowel after a consonant."""
    shape = ""
    for letter in word:
        shape += "v" if letter in "aeiou" or (letter == "y" and shape[-1:] == "c") else "c"
    return shape


def _measure(word: str) -> int:
    """Porter's m: the number of times that a consonant follows a vowel."""
    return _shape(word).count("vc")


def _doubled(word: str) -> bool:
    return len(word) > 1 and word[-1] == word[-2] and _shape(word)[-1] == "c"


def _short(word: str) -> bool:
    """Whether the word ends in consonant, vowel, consonant, and the last is not w, x or y."""
    return _shape(word).endswith("cvc") and word[-1] not in "wxy"
