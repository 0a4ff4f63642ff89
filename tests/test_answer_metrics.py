"""F1 and abstention as LoCoMo evaluates them, held against values worked out by hand."""

import pickle
from dataclasses import replace

import pytest
from conftest import make_question

from profilegym import Aspect, Episode, Question, Reward, Rubric, make_reward
from profilegym.envs.data.locomo import CATEGORIES
from profilegym.envs.question import HistoryUse
from profilegym.envs.reward import rewards_of
from profilegym.rewards.answer_metrics import declines, mentions, token_f1


def asked(reference: str | None, category: int = 4, history: HistoryUse | None = "needed") -> Question:
    rubric = Rubric("", (Aspect("a", documents=("u1-0",)),), reference, history=history)
    return replace(make_question(), rubric=rubric, category=CATEGORIES[category])


def scored(spec: str, question: Question, answer: str) -> Reward:
    episode = Episode(question)
    episode.write(f"<answer>{answer}</answer>")
    (reward,) = rewards_of(make_reward(spec)([episode]))
    return reward


@pytest.mark.parametrize(
    ("answer", "reference", "f1"),
    [
        ("The boats!", "a boat", 1),
        ("salt and pepper", "pepper salt", 1),
        ("1,000 boats", "1000 boat", 1),
        ("a red boat in Ghent", "Ghent", 2 * (1 / 4) * 1 / (1 / 4 + 1)),
        ("Ghent Ghent", "Ghent", 2 * (1 / 2) * 1 / (1 / 2 + 1)),
        ("enjoys", "enjoy", 1),  # NLTK keeps the y after a vowel, Lucene's stemmer does not
        ("dying", "dies", 1),  # an irregular form of NLTK's
        ("Bruges", "Ghent", 0),
        ("the", "a", 0),
        ("", "Ghent", 0),
    ],
)
def test_f1_is_that_of_stemmed_words_without_case_punctuation_and_articles(
    answer: str, reference: str, f1: float
) -> None:
    assert token_f1(answer, reference) == pytest.approx(f1, abs=1e-12)
    assert scored("f1", asked(reference), answer).parts == {"f1": pytest.approx(f1, abs=1e-12)}


def test_f1_of_a_multi_hop_question_is_averaged_over_the_parts_of_its_reference() -> None:
    question = asked("pottery, long walks", category=1)

    assert scored("f1", question, "camping, pottery").total == pytest.approx((1 + 0) / 2)
    assert scored("f1", question, "walks, painting pottery").total == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert scored("f1", replace(question, category=CATEGORIES[4]), "long walks, pottery").total == 1


def test_of_an_open_domain_reference_what_stands_before_the_semicolon_counts() -> None:
    question = asked("Likely no; she prefers the sea", category=3)

    for reward in ("f1", "exact", "contains"):
        assert scored(reward, question, "Likely no").total == 1
    assert scored("exact", replace(question, category=CATEGORIES[2]), "Likely no").total == 0


@pytest.mark.parametrize("reward", ["f1", "exact", "contains"])
def test_where_a_question_cannot_be_answered_declining_is_right(reward: str) -> None:
    question = asked("Not mentioned in the conversation", category=5, history="unanswerable")

    declined = scored(reward, question, "That is Not mentioned anywhere.")
    assert (declined.total, declined.parts) == (1, {"abstain": 1})
    assert scored(reward, question, "the conversation").total == 0


def test_exact_wants_the_same_words_and_contains_wants_them_in_a_row() -> None:
    question = asked("the red boat")

    assert scored("exact", question, "Boat, red.").total == 1
    assert scored("exact", question, "a red boat in Ghent").total == 0
    assert scored("contains", question, "It is a red boat in Ghent").total == 1
    assert scored("contains", question, "a boat, red").total == 0
    assert scored("contains", question, "a bored boat").total == 0


@pytest.mark.parametrize("reward", ["exact", "contains"])
@pytest.mark.parametrize(
    ("answer", "reference", "score"),
    [("A", "A", 1), ("(a)", "A.", 1), ("an", "A", 0), ("A boat", "A", 0), ("", "A", 0), ("+", "+", 1), ("-", "+", 0)],
)
def test_a_reference_without_words_is_compared_as_a_text(
    reward: str, answer: str, reference: str, score: float
) -> None:
    assert scored(reward, asked(reference), answer).total == score


@pytest.mark.parametrize("reward", ["f1", "exact", "contains"])
@pytest.mark.parametrize("reference", ["A", "…?!", ""])
def test_an_episode_without_an_answer_matches_no_reference(reward: str, reference: str) -> None:
    episode = Episode(asked(reference))
    episode.truncate()

    (found,) = rewards_of(make_reward(reward)([episode]))

    assert found.total == 0


@pytest.mark.parametrize("reward", ["f1", "exact", "contains"])
def test_without_a_reference_an_answer_is_unscored(reward: str) -> None:
    found = scored(reward, asked(None), "tea")

    assert found.total is None
    assert found.unscored


@pytest.mark.parametrize(
    ("history", "answer", "right"),
    [
        ("unanswerable", "No information available.", 1),
        ("unanswerable", "In Ghent.", 0),
        ("needed", "In Ghent.", 1),
        ("needed", "It is not mentioned.", 0),
        ("unneeded", "In Ghent.", 1),
        (None, "In Ghent.", None),
    ],
)
def test_abstaining_is_right_exactly_where_the_question_cannot_be_answered(
    history: HistoryUse | None, answer: str, right: float | None
) -> None:
    found = scored("abstain", asked("in Ghent", history=history), answer)

    assert found.total == right
    assert bool(found.unscored) == (right is None)


def test_the_rewards_add_up_without_a_judge() -> None:
    found = scored("compose:1*f1+0.5*evidence+0.2*abstain", asked("in Ghent"), "in Ghent")

    assert found.parts == {"f1": 1, "evidence": 0, "abstain": pytest.approx(0.2)}
    assert found.total == pytest.approx(1.2)


def test_phrases_are_found_between_words_alone() -> None:
    assert mentions("She has a RED boat.", ["blue", "red boat"])
    assert not mentions("She is bored.", ["red", "", "the"])
    assert not declines("I know it")


@pytest.mark.parametrize("reward", ["f1", "exact", "contains", "abstain", "evidence:ndcg,by=session"])
def test_a_reward_can_be_sent_to_another_process(reward: str) -> None:
    assert pickle.loads(pickle.dumps(make_reward(reward))) == make_reward(reward)
