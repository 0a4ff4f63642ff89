"""The advantages of a GRPO group: how the baseline rollouts, played without the profile, enter them."""

from collections.abc import Callable, Sequence
from itertools import accumulate
from math import isnan
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError

Mode = Literal["joint", "delta", "code", "none"]
Advantage = Literal["joint", "delta", "code", "none", "joint+turn", "delta+turn", "code+turn", "none+turn"]
Scale = Literal["group", "none"]
Score = float | None
_SHIFT = 2.0  # `k-shift` of PR2's released code
_EPSILON = 1e-6  # smallest standard deviation: smaller differences are noise
_ROUNDING = 1e-9  # relative to the largest score: tolerance for equal scores
_Values = NDArray[np.float64]
_Deviation = Callable[[_Values], float]


def advantages(
    mode: Mode, scores: Sequence[Score], baseline_scores: Sequence[Score], scale: Scale = "group"
) -> list[float]:
    """Advantages of the K personalised members, followed by those of the M baseline members.

    A member without a score (None or NaN) is left out of the statistics and gets 0. All members get 0 in a group with
    fewer than two scored personalised members, in one whose scores are all equal, and, in `delta` and `code`, in one
    without a scored baseline.

    - `joint`: each score minus the mean of all K + M scores, over their standard deviation
    - `delta`: each personalised score minus the mean baseline score, over the standard deviation of the personalised
      scores; not centred again
    - `code`: the formula of PR2's released code
    - `none`: GRPO over the K personalised members, without the baseline

    With `scale="none"` no deviation divides them, which `code` cannot do without.
    """
    if mode not in _MODES:
        raise OptionError(f"advantage={mode!r}: give one of {', '.join(get_args(Mode))}")
    if scale not in _SCALES or (mode == "code" and scale != "group"):
        other = " or none" * (mode != "code")
        raise OptionError(f"scale_rewards={scale!r}: with advantage={mode} give group{other}")
    known, beside = _known(scores), _known(baseline_scores)
    if is_skipped(mode, scores, baseline_scores) or is_flat([*scores, *baseline_scores]):
        return [0.0] * (len(scores) + len(baseline_scores))
    found, found_beside = (iter(values.tolist()) for values in _MODES[mode](known, beside, _SCALES[scale]))
    return [
        *(next(found) if _is_known(score) else 0.0 for score in scores),
        *(next(found_beside) if _is_known(score) else 0.0 for score in baseline_scores),
    ]


def turn_advantages(call_rewards: Sequence[Sequence[float] | None]) -> list[list[float]]:
    """What each turn of each member adds to its advantage: A_it = R_it - mean over j of R_jt.

    `call_rewards` are those of a group's personalised members by turn, None for a member that is left out. R_it is the
    sum of a member's rewards from turn t on, and 0 after its end. The mean is over all members, whether or not they
    have a turn t. A mean over those alone that went on would depend on the decision to stop. No deviation divides it,
    as one by turn would weigh turns by how many members have them. In a group with fewer than two known members all
    are 0.
    """
    known = [_to_go(rewards) for rewards in call_rewards if rewards is not None]
    if len(known) < 2:
        return [[0.0] * len(rewards or ()) for rewards in call_rewards]
    longest = max(map(len, known))
    means = [sum(one[t] for one in known if t < len(one)) / len(known) for t in range(longest)]
    return [
        [] if rewards is None else [value - mean for value, mean in zip(_to_go(rewards), means, strict=False)]
        for rewards in call_rewards
    ]


def is_skipped(mode: Mode, scores: Sequence[Score], baseline_scores: Sequence[Score]) -> bool:
    """Whether a group has too few scores for advantages."""
    return len(_known(scores)) < 2 or (mode in ("delta", "code") and not len(_known(baseline_scores)))


def is_flat(scores: Sequence[Score]) -> bool:
    """Whether all known scores are equal, up to rounding errors."""
    known = _known(scores)
    return bool(len(known)) and _are_equal(known)


def _to_go(rewards: Sequence[float]) -> list[float]:
    """The sum of the rewards from each turn on."""
    return list(accumulate(reversed(rewards)))[::-1]


def _joint(scores: _Values, baselines: _Values, deviation: _Deviation) -> tuple[_Values, _Values]:
    found = _standardised(np.concatenate([scores, baselines]), deviation)
    return found[: len(scores)], found[len(scores) :]


def _delta(scores: _Values, baselines: _Values, deviation: _Deviation) -> tuple[_Values, _Values]:
    return (scores - baselines.mean()) / deviation(scores), np.zeros(len(baselines))


def _code(scores: _Values, baselines: _Values, deviation: _Deviation) -> tuple[_Values, _Values]:
    baseline = baselines.mean()
    group = np.append(scores, baseline)
    shifted = (scores - baseline - group.mean()) / deviation(group)
    return shifted - _SHIFT * baseline / deviation(scores), np.zeros(len(baselines))


def _none(scores: _Values, baselines: _Values, deviation: _Deviation) -> tuple[_Values, _Values]:
    return _standardised(scores, deviation), np.zeros(len(baselines))


_MODES: dict[str, Callable[[_Values, _Values, _Deviation], tuple[_Values, _Values]]] = {
    "joint": _joint,
    "delta": _delta,
    "code": _code,
    "none": _none,
}


def _standardised(values: _Values, deviation: _Deviation) -> _Values:
    found: _Values = np.zeros(len(values)) if _are_equal(values) else (values - values.mean()) / deviation(values)
    return found


def _deviation(values: _Values) -> float:
    """Sample standard deviation; 1 where all values are equal."""
    return 1.0 if _are_equal(values) else max(_EPSILON, float(values.std(ddof=1)))


_SCALES: dict[str, _Deviation] = {"group": _deviation, "none": lambda _: 1.0}


def _are_equal(values: _Values) -> bool:
    return bool(np.ptp(values) <= _ROUNDING * np.abs(values).max())


def _known(scores: Sequence[Score]) -> _Values:
    return np.array([score for score in scores if score is not None and not isnan(score)], float)


def _is_known(score: Score) -> bool:
    return score is not None and not isnan(score)
