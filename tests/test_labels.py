"""LaMP's labels and ratings, held against figures worked out by hand."""

from dataclasses import replace

import pytest
from conftest import make_question
from matching import naming

from profilegym import Episode, Rubric, make_reward
from profilegym.envs.reward import rewards_of
from profilegym.errors import DataError
from profilegym.rewards.label_metrics import accuracy, macro_f1, mae, rating_error, rmse


def answered(answer: str, reference: str | None) -> Episode:
    episode = Episode(replace(make_question(), rubric=Rubric(reference=reference)))
    episode.write(f"<answer>{answer}</answer>")
    return episode


def test_accuracy_and_macro_f1_are_those_worked_out_by_hand() -> None:
    answers, references = ["[1]", " [2]\n", "[1]", "neither"], ["[1]", "[2]", "[2]", "[1]"]

    assert accuracy(answers, references) == 0.5
    # [1]: precision 1/2, recall 1/2; [2]: precision 1/1, recall 1/2
    assert macro_f1(answers, references, ["[1]", "[2]"]) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_a_label_that_never_occurs_counts_nothing_in_macro_f1() -> None:
    assert macro_f1(["a"], ["a"], ["a", "b"]) == 0.5


@pytest.mark.parametrize(
    ("answer", "reference", "error"),
    [
        ("4", "5", 1),
        ("4.0", "5", 1),
        ("good", "5", 4),
        ("good", "2", 3),
        ("", "3", 2),
        ("nan", "1", 4),
        ("inf", "4", 3),
        ("1e200", "4", 3),
        ("0", "5", 4),
        ("5.5", "3", 2),
    ],
)
def test_what_is_no_rating_is_the_farther_of_1_and_5(answer: str, reference: str, error: float) -> None:
    assert rating_error(answer, reference) == error


def test_mae_and_rmse_are_those_worked_out_by_hand() -> None:
    answers, references = ["5", "no idea", "3"], ["4", "5", "3"]

    assert mae(answers, references) == pytest.approx(5 / 3)
    assert rmse(answers, references) == pytest.approx((17 / 3) ** 0.5)


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(DataError, match=naming(1, 2)):
        accuracy(["a"], ["a", "b"])
    with pytest.raises(DataError, match="'good'"):
        mae(["1"], ["good"])


def test_each_episode_is_matched_and_rated() -> None:
    match, rating = make_reward("match"), make_reward("mae")

    assert [r.total for r in rewards_of(match([answered(" [1] ", "[1]"), answered("[2]", "[1]")]))] == [1, 0]
    assert [r.total for r in rewards_of(rating([answered("4", "5"), answered("well", "1")]))] == [-1, -4]


def test_an_answer_without_a_reference_is_unscored() -> None:
    (reward,) = rewards_of(make_reward("match")([answered("[1]", None)]))

    assert reward.total is None
    assert reward.unscored
