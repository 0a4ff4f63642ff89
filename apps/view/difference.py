"""Two transcripts beside each other, step by step and word by word."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest

from ...envs.trajectory import Trajectory

_COMPARED = 4_000  # characters of a step
_WORD = re.compile(r"\S*\s*")

Piece = tuple[str, bool]  # a stretch of text, and whether the other one has it otherwise


@dataclass(frozen=True, slots=True)
class Both:
    """One step of either; `same` where they are alike, and then the second is left out."""

    same: bool
    one: Sequence[Piece]
    other: Sequence[Piece] = ()


def beside_each_other(one: Trajectory, other: Trajectory) -> list[Both]:
    """From the first step, as a branch begins like its parent."""
    texts = ([segment.text.strip() for segment in trajectory.segments] for trajectory in (one, other))
    return [_both(*pair) for pair in zip_longest(*texts, fillvalue="")]


def _both(one: str, other: str) -> Both:
    if one == other:
        return Both(True, [(one[:_COMPARED], False)])
    first, second = _WORD.findall(one[:_COMPARED]), _WORD.findall(other[:_COMPARED])
    changes = SequenceMatcher(None, first, second, autojunk=False).get_opcodes()
    left = [("".join(first[a:b]), kind != "equal") for kind, a, b, _, _ in changes]
    right = [("".join(second[c:d]), kind != "equal") for kind, _, _, c, d in changes]
    return Both(False, left, right)
