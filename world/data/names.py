"""Generates names such as `Nolita` from shared syllables, so that a small tokenizer can copy unseen names."""

import re
from collections.abc import Collection, Iterator

from .rng import Rng

SYLLABLES = tuple(consonant + vowel for consonant in "bdfgklmnprtvz" for vowel in "aeiou")
_LAST = tuple(syllable for syllable in SYLLABLES if syllable[1] in "ao")  # stemmers keep these endings

NAME = re.compile(r"\b[BDFGKLMNPRTVZ][aeiou][bdfgklmnprtvz][aeiou][bdfgklmnprtvz][ao]\b")


def is_unseen(name: str) -> bool:
    """Whether the name belongs to the set that training never shows."""
    first, second, third = (SYLLABLES.index(name[i : i + 2].lower()) for i in (0, 2, 4))
    return (first + 2 * second + 3 * third) % 5 == 0


def draw_names(rng: Rng, count: int, unseen: bool, excluded: Collection[str]) -> list[str]:
    """Names that differ within their first two syllables, none of them one of the words `taken`."""
    names: dict[str, str] = {}
    for name in _candidates(rng):
        if len(names) == count:
            break
        if is_unseen(name) == unseen and name.lower() not in excluded:
            names.setdefault(name[:4], name)
    return list(names.values())


def _candidates(rng: Rng) -> Iterator[str]:
    while True:
        first, second, third = rng.choice(SYLLABLES), rng.choice(SYLLABLES), rng.choice(_LAST)
        if first != second != third != first:
            yield (first + second + third).capitalize()
