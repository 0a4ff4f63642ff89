"""Names such as `Nolita`: three syllables, shared by all, so that a small tokenizer can copy a name it never saw."""

import re
from collections.abc import Collection, Iterator

from .rng import Dice

SYLLABLES = tuple(consonant + vowel for consonant in "bdfgklmnprtvz" for vowel in "aeiou")
_LAST = tuple(syllable for syllable in SYLLABLES if syllable[1] in "ao")  # no stemmer takes these endings off

NAME = re.compile(r"\b[BDFGKLMNPRTVZ][aeiou][bdfgklmnprtvz][aeiou][bdfgklmnprtvz][ao]\b")


def is_unseen(name: str) -> bool:
    """Whether training must never show this name: every name belongs to one of two sets."""
    first, second, third = (SYLLABLES.index(name[i : i + 2].lower()) for i in (0, 2, 4))
    return (first + 2 * second + 3 * third) % 5 == 0


def draw_names(dice: Dice, count: int, unseen: bool, taken: Collection[str]) -> list[str]:
    """Names that differ within their first two syllables, none of them one of the words `taken`."""
    names: dict[str, str] = {}
    for name in _candidates(dice):
        if len(names) == count:
            break
        if is_unseen(name) == unseen and name.lower() not in taken:
            names.setdefault(name[:4], name)
    return list(names.values())


def _candidates(dice: Dice) -> Iterator[str]:
    while True:
        first, second, third = dice.pick(SYLLABLES), dice.pick(SYLLABLES), dice.pick(_LAST)
        if first != second != third != first:
            yield (first + second + third).capitalize()
