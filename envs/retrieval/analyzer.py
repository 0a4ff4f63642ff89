"""Text to search terms, as Lucene's default English analyzer makes them.

Words by UAX #29 as `StandardTokenizer` cuts them, English possessives off, lower case, 33 stop words out, Porter stems.
"""

import re
import sys
from bisect import bisect_right
from functools import cache
from pathlib import Path

from .porter import stem

LONGEST = 255  # UTF-16 units; Lucene cuts what is longer
_REMEMBERED = 500_000  # distinct words, about 100 MB at most
_STOP_WORDS = {
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not", "of",
    "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was", "will", "with",
}  # fmt: skip

# Leading underscores are bounded, so that a long row of them stays cheap; what is longer is cut anyway.
_ASCII_WORD = re.compile(
    r"_{0,255}+[a-z0-9]\w*+(?:[.,:;'](?=\w)(?:(?<=[a-z][.:'])(?=[a-z])|(?<=[0-9][.,;'])(?=[0-9]))\w++)*+", re.ASCII
)


def analyze(text: str) -> list[str]:
    """The terms of a text, in order."""
    words = _ascii_words(text.lower()) if text.isascii() else _unicode_words(text)
    return [term for term in map(_TERMS.__getitem__, words) if term]


def located(text: str) -> list[tuple[str, int, int]]:
    """The terms of a text, each with where its word begins and ends; no word is cut, however long."""
    lower, subject, pattern = (text.lower(), text.lower(), _ASCII_WORD) if text.isascii() else _by_class(text)
    spans = map(re.Match.span, pattern.finditer(subject))
    return [(term, start, end) for start, end in spans if (term := _TERMS[lower[start:end]])]


def _ascii_words(text: str) -> list[str]:
    words = _ASCII_WORD.findall(text)
    return words if max(map(len, words), default=0) <= LONGEST else _chopped(_ASCII_WORD, text, text)


def _unicode_words(text: str) -> list[str]:
    lower, classes, pattern = _by_class(text)
    words = [lower[start:end] for start, end in map(re.Match.span, pattern.finditer(classes))]
    # A character can take two UTF-16 units.
    return words if max(map(len, words), default=0) <= LONGEST // 2 else _chopped(pattern, classes, lower)


def _by_class(text: str) -> tuple[str, str, re.Pattern[str]]:
    """The text in lower case, the class of each of its characters, and what is a word among those."""
    text = text.replace("İ", "i").replace("Σ", "σ")  # lower case letter by letter, as Java does: the length stays
    return text.lower(), text.translate(_word_classes()), _class_pattern()


def _chopped(pattern: re.Pattern[str], subject: str, text: str) -> list[str]:
    """The words when some may be too long: each is the longest that 255 UTF-16 units from its start can hold."""
    words, start = [], 0
    while start < len(text):
        units = text[start : start + LONGEST].encode("utf-16-le", "surrogatepass")[: 2 * LONGEST]
        match = pattern.match(subject, start, start + len(units.decode("utf-16-le", "ignore")))
        if match:
            words.append(text[start : match.end()])
        start = match.end() if match else start + 1
    return words


class _Terms(dict[str, str]):
    """From a lower-case word to its term, empty for stop words."""

    def __missing__(self, word: str) -> str:
        if len(self) >= _REMEMBERED:
            self.clear()
        base = word[:-2] if word.endswith(("'s", "’s", "＇s")) else word
        term = self[word] = "" if base in _STOP_WORDS else sys.intern(stem(base))
        return term


_TERMS = _Terms()


@cache
def _class_pattern() -> re.Pattern[str]:
    """The words in a string of classes (the table names them): Lucene's grammar, with every rule for types left out."""
    ext = "[xzckMTYvt]*+"  # marks, joiners and modifiers belong to what they follow
    join, letter, digit = f"(?:U{ext})", f"(?:[LHi]{ext})", f"(?:N{ext})"
    hebrew = f"(?:H{ext}(?:'{ext}|\"{ext}H{ext}))"
    letters = f"{letter}(?:(?:{join}*+(?!{hebrew})|[mb']{ext}){letter})*+"
    digits = f"{digit}(?:(?:{join}*+|[nb']{ext}){digit})*+"
    run = f"(?:(?:{hebrew}|{digits}|{letters})++|K{ext}(?:{join}*+K{ext})*+)"
    word = f"{join}{{0,255}}+{run}(?:{join}++{run})*+{join}*+"
    inner = "(?:[xckMTY]|z(?!z*[ei]))*+"  # a joiner before another symbol joins it
    symbol = f"(?:z*[ei]{inner}v?|M{inner})"
    symbols = f"{symbol}(?:T++Y|(?:z{symbol})*)"
    emoji = rf"{symbols}|\#[xzckMTY]*v?k[xzckMTY]*|R{ext}R{ext}"
    plain = "[LN]++(?![xzckMTYvtHiU]|[mnb'][^o])"  # most words by far
    return re.compile(f"{plain}|(?:i{inner}v?z)+(?=z*e){symbols}|{word}|{emoji}|[Cc][CxzckMTYvt]*|I{ext}")


class _Classes(dict[int, str]):
    """Code point to class letter, looked up in ranges once and then remembered."""

    def __init__(self, ranges: list[tuple[int, int, str]]) -> None:
        self._ranges = ranges
        self._starts = [start for start, _, _ in ranges]

    def __missing__(self, code: int) -> str:
        _, end, letter = self._ranges[max(bisect_right(self._starts, code) - 1, 0)]
        found = self[code] = letter if code <= end and code >= self._starts[0] else "o"
        return found


@cache
def _word_classes() -> _Classes:
    """Read from `word_classes.txt`, which pins the Unicode version that Lucene's tokenizer was built with."""
    ranges = []
    for line in Path(__file__).with_name("word_classes.txt").read_text("utf-8").splitlines():
        if not line.startswith("//"):
            letter, *spans = line.split()
            for span in spans:
                start, _, end = span.partition("-")
                ranges.append((int(start, 16), int(end or start, 16), letter))
    return _Classes(sorted(ranges))
