"""From a group's scores to its advantages: how the rollout without the profile enters GRPO."""

from collections.abc import Callable, Sequence
from math import isnan
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError

Mode = Literal["joint", "delta", "code", "none"]
Score = float | None
_SHIFT = 2.0  # `k-shift` of PR2's released code
_EPSILON = 1e-6  # the least deviation: scores that differ by less are nearly no signal
_ROUNDING = 1e-9  # of the largest score: what scores that should be equal may differ by
_Values = NDArray[np.float64]


def advantages(mode: Mode, scores: Sequence[Score], baseline_scores: Sequence[Score]) -> list[float]:
    """Those of the K personalised members, then those of the M baseline members.

    A member without a score (None or NaN) leaves the statistics and gets 0. So does a whole group with fewer than two
    scored personalised members, one whose scores are all equal, and, in the modes that set it beside a baseline, one
    whose baseline has no score.

    - `joint`: every member less the mean of all K + M, over their deviation
    - `delta`: a personalised score less the mean baseline, over the deviation of the personalised ones; not re-centred
    - `code`: what PR2's released code computes
    - `none`: GRPO over the K personalised members, as if there were no baseline
    """
    if mode not in _MODES:
        raise OptionError(f"advantage={mode!r}: give one of {', '.join(get_args(Mode))}")
    known, beside = _known(scores), _known(baseline_scores)
    if is_skipped(mode, scores, baseline_scores) or is_flat([*scores, *baseline_scores]):
        return [0.0] * (len(scores) + len(baseline_scores))
    found, found_beside = (iter(values.tolist()) for values in _MODES[mode](known, beside))
    return [
        *(next(found) if _is_known(score) else 0.0 for score in scores),
        *(next(found_beside) if _is_known(score) else 0.0 for score in baseline_scores),
    ]


def is_skipped(mode: Mode, scores: Sequence[Score], baseline_scores: Sequence[Score]) -> bool:
    """Whether a group holds too few scores to say what was better than what."""
    return len(_known(scores)) < 2 or (mode in ("delta", "code") and not len(_known(baseline_scores)))


def is_flat(scores: Sequence[Score]) -> bool:
    """Whether all known scores are equal, but for the rounding of the arithmetic that they come from."""
    known = _known(scores)
    return bool(len(known)) and _are_equal(known)


def _joint(scores: _Values, baselines: _Values) -> tuple[_Values, _Values]:
    found = _standardised(np.concatenate([scores, baselines]))
    return found[: len(scores)], found[len(scores) :]


def _delta(scores: _Values, baselines: _Values) -> tuple[_Values, _Values]:
    return (scores - baselines.mean()) / _deviation(scores), np.zeros(len(baselines))


def _code(scores: _Values, baselines: _Values) -> tuple[_Values, _Values]:
    baseline = baselines.mean()
    group = np.append(scores, baseline)
    shifted = (scores - baseline - group.mean()) / _deviation(group)
    return shifted - _SHIFT * baseline / _deviation(scores), np.zeros(len(baselines))


def _none(scores: _Values, baselines: _Values) -> tuple[_Values, _Values]:
    return _standardised(scores), np.zeros(len(baselines))


_MODES: dict[str, Callable[[_Values, _Values], tuple[_Values, _Values]]] = {
    "joint": _joint,
    "delta": _delta,
    "code": _code,
    "none": _none,
}


def _standardised(values: _Values) -> _Values:
    found: _Values = np.zeros(len(values)) if _are_equal(values) else (values - values.mean()) / _deviation(values)
    return found


def _deviation(values: _Values) -> float:
    """Of the sample; 1 where all are equal."""
    return 1.0 if _are_equal(values) else max(_EPSILON, float(values.std(ddof=1)))


def _are_equal(values: _Values) -> bool:
    return bool(np.ptp(values) <= _ROUNDING * np.abs(values).max())


def _known(scores: Sequence[Score]) -> _Values:
    return np.array([score for score in scores if score is not None and not isnan(score)], float)


def _is_known(score: Score) -> bool:
    return score is not None and not isnan(score)
