"""Turns text into search terms exactly as Lucene's default English analyzer does.

Splits words by UAX #29 as `StandardTokenizer`, removes English possessives, converts to lower case, removes 33 stop
words, and applies Porter stems.
"""

import re
import sys
from bisect import bisect_right
from functools import cache
from pathlib import Path

from .porter import stem

MAX_WORD_UNITS = 255  # UTF-16 units; Lucene splits longer words
_CACHED_WORDS = 500_000  # distinct words, about 100 MB at most
_STOP_WORDS = {
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not", "of",
    "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was", "will", "with",
}  # fmt: skip

# Leading underscores are bounded, so that many of them stay cheap; longer words are split anyway.
_ASCII_WORD = re.compile(
    r"_{0,255}+[a-z0-9]\w*+(?:[.,:;'](?=\w)(?:(?<=[a-z][.:'])(?=[a-z])|(?<=[0-9][.,;'])(?=[0-9]))\w++)*+", re.ASCII
)


def analyze(text: str) -> list[str]:
    """The terms of a text, in order."""
    words = _ascii_words(text.lower()) if text.isascii() else _unicode_words(text)
    return [term for term in map(_TERMS.__getitem__, words) if term]


def analyze_with_spans(text: str) -> list[tuple[str, int, int]]:
    """The terms of a text with the start and end of their words. Long words are not split."""
    lower, subject, pattern = (text.lower(), text.lower(), _ASCII_WORD) if text.isascii() else _by_class(text)
    spans = map(re.Match.span, pattern.finditer(subject))
    return [(term, start, end) for start, end in spans if (term := _TERMS[lower[start:end]])]


def _ascii_words(text: str) -> list[str]:
    words = _ASCII_WORD.findall(text)
    return words if max(map(len, words), default=0) <= MAX_WORD_UNITS else _split_long(_ASCII_WORD, text, text)


def _unicode_words(text: str) -> list[str]:
    lower, classes, pattern = _by_class(text)
    words = [lower[start:end] for start, end in map(re.Match.span, pattern.finditer(classes))]
    # A character can take two UTF-16 units.
    return words if max(map(len, words), default=0) <= MAX_WORD_UNITS // 2 else _split_long(pattern, classes, lower)


def _by_class(text: str) -> tuple[str, str, re.Pattern[str]]:
    """The text in lower case, the classes of its characters, and the pattern of a word in these classes."""
    text = text.replace("İ", "i").replace("Σ", "σ")  # per letter, as Java does, which keeps the length
    return text.lower(), text.translate(_word_classes()), _class_pattern()


def _split_long(pattern: re.Pattern[str], subject: str, text: str) -> list[str]:
    """The words where some may be too long. Each is the longest word within 255 UTF-16 units from its start."""
    words, start = [], 0
    while start < len(text):
        units = text[start : start + MAX_WORD_UNITS].encode("utf-16-le", "surrogatepass")[: 2 * MAX_WORD_UNITS]
        match = pattern.match(subject, start, start + len(units.decode("utf-16-le", "ignore")))
        if match:
            words.append(text[start : match.end()])
        start = match.end() if match else start + 1
    return words


class _Terms(dict[str, str]):
    """Maps a lower-case word to its term, and a stop word to an empty one."""

    def __missing__(self, word: str) -> str:
        if len(self) >= _CACHED_WORDS:
            self.clear()
        base = word[:-2] if word.endswith(("'s", "’s", "＇s")) else word
        term = self[word] = "" if base in _STOP_WORDS else sys.intern(stem(base))
        return term


_TERMS = _Terms()


@cache
def _class_pattern() -> re.Pattern[str]:
    """Lucene's grammar of words over the class letters of `word_classes.txt`, without its token types."""
    ext = "[xzckMTYvt]*+"  # marks, joiners and modifiers belong to the character before them
    join, letter, digit = f"(?:U{ext})", f"(?:[LHi]{ext})", f"(?:N{ext})"
    hebrew = f"(?:H{ext}(?:'{ext}|\"{ext}H{ext}))"
    letters = f"{letter}(?:(?:{join}*+(?!{hebrew})|[mb']{ext}){letter})*+"
    digits = f"{digit}(?:(?:{join}*+|[nb']{ext}){digit})*+"
    run = f"(?:(?:{hebrew}|{digits}|{letters})++|K{ext}(?:{join}*+K{ext})*+)"
    word = f"{join}{{0,255}}+{run}(?:{join}++{run})*+{join}*+"
    inner = "(?:[xckMTY]|z(?!z*[ei]))*+"  # a joiner before another symbol is left for `symbols`
    symbol = f"(?:z*[ei]{inner}v?|M{inner})"
    symbols = f"{symbol}(?:T++Y|(?:z{symbol})*)"
    emoji = rf"{symbols}|\#[xzckMTY]*v?k[xzckMTY]*|R{ext}R{ext}"
    plain = "[LN]++(?![xzckMTYvtHiU]|[mnb'][^o])"  # most words
    return re.compile(f"{plain}|(?:i{inner}v?z)+(?=z*e){symbols}|{word}|{emoji}|[Cc][CxzckMTYvt]*|I{ext}")


class _Classes(dict[int, str]):
    """Maps a code point to its class letter. Each is looked up in the ranges once."""

    def __init__(self, ranges: list[tuple[int, int, str]]) -> None:
        self._ranges = ranges
        self._starts = [start for start, _, _ in ranges]

    def __missing__(self, code: int) -> str:
        _, end, letter = self._ranges[max(bisect_right(self._starts, code) - 1, 0)]
        self[code] = letter = letter if code <= end and code >= self._starts[0] else "o"
        return letter


@cache
def _word_classes() -> _Classes:
    """Reads `word_classes.txt`, which has the Unicode version of Lucene's tokenizer."""
    ranges = []
    for line in Path(__file__).with_name("word_classes.txt").read_text("utf-8").splitlines():
        if not line.startswith("//"):
            letter, *spans = line.split()
            for span in spans:
                start, _, end = span.partition("-")
                ranges.append((int(start, 16), int(end or start, 16), letter))
    return _Classes(sorted(ranges))
