"""The advantages of this package over rows of many groups, as estimators of other trainers have them."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import get_args

from ..errors import OptionError
from ..training.advantage import Mode, Scale, advantages

MODES: tuple[Mode, ...] = get_args(Mode)


def grouped(
    mode: Mode, rewards: Sequence[float], groups: Sequence[Hashable], is_control: Sequence[bool], scale: Scale = "group"
) -> list[float]:
    """The advantage of each row in its group. A reward that is NaN is unscored: its row counts nowhere and gets 0."""
    rows: defaultdict[Hashable, list[int]] = defaultdict(list)
    for row, group in enumerate(groups):
        rows[group].append(row)
    found = [0.0] * len(rewards)
    for members in rows.values():
        own = [row for row in members if not is_control[row]]
        controls = [row for row in members if is_control[row]]
        values = advantages(mode, [rewards[row] for row in own], [rewards[row] for row in controls], scale)
        for row, value in zip([*own, *controls], values, strict=True):
            found[row] = value
    return found


def last_of_each(groups: Sequence[Hashable], number: int) -> list[bool]:
    """Whether a row is among the last `number` of its group."""
    left: defaultdict[Hashable, int] = defaultdict(int)
    marks = []
    for group in reversed(groups):
        left[group] += 1
        marks.append(left[group] <= number)
    return marks[::-1]


def require_own(rows: int, controls: int, option: str) -> None:
    """A group of nothing but controls would train nothing."""
    if rows <= controls:
        raise OptionError(
            f"{option}={rows}: a group needs more rows than its {controls} of the control; give {controls + 1} or more"
        )


def scale_of(mode: Mode, divides: bool, option: str) -> Scale:
    """What `option` of a trainer, whether a deviation divides its own advantages, is for these."""
    if mode == "code" and not divides:
        raise OptionError(f"{option}=False: profilegym_code always divides by a deviation; take another estimator")
    return "group" if divides else "none"
