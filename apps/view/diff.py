"""The difference of two transcripts, step by step and word by word."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest

from ...envs.trajectory import Trajectory

_COMPARED = 4_000  # characters of a step
_WORD = re.compile(r"\S*\s*")

Piece = tuple[str, bool]  # text, and whether it differs


@dataclass(frozen=True, slots=True)
class StepDiff:
    """One step of both; if they are the same, `other` is empty."""

    same: bool
    one: Sequence[Piece]
    other: Sequence[Piece] = ()


def diff_steps(one: Trajectory, other: Trajectory) -> list[StepDiff]:
    """Steps are paired from the first on, as a branch begins like its parent."""
    texts = ([segment.text.strip() for segment in trajectory.segments] for trajectory in (one, other))
    return [_diff_step(*pair) for pair in zip_longest(*texts, fillvalue="")]


def _diff_step(one: str, other: str) -> StepDiff:
    if one == other:
        return StepDiff(True, [(one[:_COMPARED], False)])
    first, second = _WORD.findall(one[:_COMPARED]), _WORD.findall(other[:_COMPARED])
    changes = SequenceMatcher(None, first, second, autojunk=False).get_opcodes()
    left = [("".join(first[a:b]), kind != "equal") for kind, a, b, _, _ in changes]
    right = [("".join(second[c:d]), kind != "equal") for kind, _, _, c, d in changes]
    return StepDiff(False, left, right)
