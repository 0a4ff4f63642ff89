"""How the rollout without the profile enters a group's advantages."""

import pytest

from profilegym.envs.errors import OptionError
from profilegym.training import advantages
from profilegym.training.advantage import is_skipped

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


@pytest.mark.parametrize("mode", ["joint", "none"])
def test_equal_scores_give_no_signal(mode: str) -> None:
    assert advantages(mode, (0.5, 0.5), (0.5,)) == [0.0, 0.0, 0.0]  # type: ignore[arg-type]


def test_equal_scores_still_tell_better_from_not_personalising() -> None:
    assert advantages("delta", (1.0, 1.0), (0.5,)) == pytest.approx([0.5, 0.5, 0.0], abs=1e-6)


def test_an_unknown_mode_names_those_there_are() -> None:
    with pytest.raises(OptionError, match="joint, delta, code, none"):
        advantages("jiont", SCORES, BASELINE)  # type: ignore[arg-type]
