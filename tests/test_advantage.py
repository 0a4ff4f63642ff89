"""How the rollout without the profile enters a group's advantages."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matching import naming

from profilegym.errors import OptionError
from profilegym.training import advantages
from profilegym.training.advantage import Mode, is_flat, is_skipped

SCORES, BASELINE = (1.0, 1.5, 0.5, 1.0), (0.5,)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("joint", (0.239046, 1.434274, -0.956183, 0.239046, -0.956183)),
        ("code", (-3.405673, -2.210444, -4.600901, -3.405673, 0.0)),
        ("delta", (1.224745, 2.449490, 0.0, 1.224745, 0.0)),  # 0.5, 1, 0, 0.5 over 0.408248
        ("none", (0.0, 1.224745, -1.224745, 0.0, 0.0)),
    ],
)
def test_the_worked_example(mode: str, expected: tuple[float, ...]) -> None:
    assert advantages(mode, SCORES, BASELINE) == pytest.approx(expected, abs=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("joint", (0.1, 0.6, -0.4, 0.1, -0.4)),
        ("delta", (0.5, 1.0, 0.0, 0.5, 0.0)),
        ("none", (0.0, 0.5, -0.5, 0.0, 0.0)),
    ],
)
def test_without_a_scale_they_stay_as_large_as_the_rewards_are(mode: str, expected: tuple[float, ...]) -> None:
    found = advantages(mode, SCORES, BASELINE, scale="none")  # type: ignore[arg-type]

    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("mode", "scale"), [("code", "none"), ("joint", "batch")])
def test_a_scale_that_cannot_be_is_refused(mode: str, scale: str) -> None:
    with pytest.raises(OptionError, match=naming(f"scale_rewards={scale!r}", f"advantage={mode}")):
        advantages(mode, SCORES, BASELINE, scale=scale)  # type: ignore[arg-type]


def test_several_baselines_are_members_each_and_one_mean_elsewhere() -> None:
    assert len(advantages("joint", SCORES, (0.0, 1.0))) == 6
    assert advantages("delta", SCORES, (0.0, 1.0))[:4] == pytest.approx(advantages("delta", SCORES, BASELINE)[:4])


def test_a_member_without_a_score_leaves_the_statistics_and_learns_nothing() -> None:
    with_gap = advantages("joint", (1.0, None, 0.5, float("nan")), BASELINE)

    assert [with_gap[1], with_gap[3]] == [0.0, 0.0]
    assert [with_gap[0], with_gap[2], with_gap[4]] == pytest.approx(advantages("joint", (1.0, 0.5), BASELINE))


@pytest.mark.parametrize("mode", ["joint", "delta", "code", "none"])
def test_a_group_with_fewer_than_two_scores_is_skipped(mode: str) -> None:
    assert is_skipped(mode, (1.0, None), BASELINE)  # type: ignore[arg-type]
    assert advantages(mode, (1.0, None), BASELINE) == [0.0, 0.0, 0.0]  # type: ignore[arg-type]


def test_a_baseline_without_a_score_leaves_a_joint_group_of_the_others() -> None:
    assert advantages("joint", SCORES, (None,)) == pytest.approx(advantages("none", SCORES, (None,)))
    assert advantages("delta", SCORES, (None,)) == [0.0] * 5


MODES = st.sampled_from(get_args(Mode))
SCORE = st.floats(-1e15, 1e15)


@given(mode=MODES, score=SCORE, own=st.integers(2, 12), beside=st.integers(0, 4))
def test_equal_scores_teach_nothing(mode: Mode, score: float, own: int, beside: int) -> None:
    assert is_flat([score] * (own + beside))
    assert advantages(mode, [score] * own, [score] * beside) == [0.0] * (own + beside)


@given(mode=MODES, score=st.floats(0.01, 1.0), parts=st.integers(2, 9), own=st.integers(2, 12))
def test_scores_that_differ_by_rounding_alone_teach_nothing(mode: Mode, score: float, parts: int, own: int) -> None:
    added = sum([score / parts] * parts)

    assert advantages(mode, [score, *[added] * (own - 1)], [score]) == [0.0] * (own + 1)


@given(mode=MODES, scores=st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12), baseline=st.floats(-1e3, 1e3))
def test_no_advantage_is_larger_than_the_formulas_allow(mode: Mode, scores: list[float], baseline: float) -> None:
    found = advantages(mode, scores, [baseline])

    if mode in ("joint", "none"):  # of n standardised numbers none is farther from 0 than this
        assert max(map(abs, found)) <= len(scores) ** 0.5 + 1e-9
    if mode == "none" or (mode == "joint" and not is_flat([*scores, baseline])):
        assert sum(found) == pytest.approx(0, abs=1e-6 * len(found))


def test_a_spread_below_the_least_deviation_is_nearly_no_signal() -> None:
    assert max(map(abs, advantages("joint", [0.5, 0.5 + 1e-8], [0.5]))) < 0.01


def test_the_released_codes_formula_on_equal_scores_beside_another_baseline() -> None:
    assert advantages("code", (0.7, 0.7), (0.1,))[:2] == pytest.approx([0.088675, 0.088675], abs=1e-6)


def test_equal_scores_still_tell_better_from_not_personalising() -> None:
    assert advantages("delta", (1.0, 1.0), (0.5,)) == pytest.approx([0.5, 0.5, 0.0], abs=1e-6)


def test_an_unknown_mode_names_those_there_are() -> None:
    with pytest.raises(OptionError, match=naming("jiont", "joint", "delta", "code", "none")):
        advantages("jiont", SCORES, BASELINE)  # type: ignore[arg-type]
