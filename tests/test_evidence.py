"""What the searches found, and what they cost."""

from dataclasses import replace
from math import log2

import pytest
from conftest import ScriptedRetriever, make_question

from profilegym import Aspect, Document, Episode, Hit, Profile, Question, Rubric, make_reward
from profilegym.envs.batch_step import BatchStepper
from profilegym.envs.reward import no_reward, rewards_of
from profilegym.errors import OptionError
from profilegym.rewards.search_metrics import Found, evidence_found


def searched(found: list[int], *wanted: tuple[str, ...]) -> Episode:
    """One search that found these of the two documents, `u1-0` and `u1-1`."""
    question = replace(make_question(), rubric=Rubric("", tuple(Aspect("a", documents=ids) for ids in wanted)))
    retriever, documents = ScriptedRetriever(), question.profile.documents
    retriever.hits = {"dog": [Hit(documents[place], 1.0) for place in found]}
    episode = Episode(question)
    for text in ("<search>dog</search>", "<answer>tea</answer>"):
        BatchStepper(retriever, no_reward).step_one(episode, text)
    return episode


@pytest.mark.parametrize(
    ("found", "wanted", "recall"),
    [
        ([0, 1], (("u1-0",),), 1),
        ([0], (("u1-0",), ("u1-1",)), 0.5),
        ([0], (("u1-0", "u1-1"), ()), 0.5),
        ([0], (("u1-0",), ("u1-0",)), 1),
        ([], (("u1-0",),), 0),
    ],
)
def test_evidence_is_the_share_of_the_documents_that_the_searches_returned(
    found: list[int], wanted: tuple[tuple[str, ...], ...], recall: float
) -> None:
    (reward,) = rewards_of(make_reward("evidence")([searched(found, *wanted)]))

    assert (reward.total, reward.parts) == (recall, {"evidence": recall})


def talk() -> Question:
    """Three sessions of two turns each; evidence is the second turn of the first session, and both of the last."""
    turns = [Document(f"{s}:{t}", "hm", session=str(s)) for s in (1, 2, 3) for t in (1, 2)]
    aspect = Aspect("a", documents=("1:2", "3:1", "3:2"), sessions=("1", "3"))
    return Question("q", "u", "What?", Profile("u", tuple(turns)), Rubric("", (aspect,)))


IDEAL = 1 + 1 / log2(3) + 1 / log2(4)


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        (["1:2", "3:2", "3:1"], Found(1, 1, 1)),
        (["2:1", "1:2"], Found(1 / 3, 1 / 2, 1 / log2(3) / IDEAL)),
        (["1:2", "1:2", "1:1"], Found(1 / 3, 1 / 2, 1 / IDEAL)),
        (["2:1"], Found(0, 0, 0)),
        ([], Found(0, 0, 0)),
    ],
)
def test_evidence_is_measured_at_the_documents_shown(shown: list[str], found: Found) -> None:
    assert evidence_found(talk(), shown) == pytest.approx(found)


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        (["1:1", "1:2", "3:1"], Found(1, 1, 1)),
        (["2:1", "3:1", "3:2"], Found(1 / 2, 1 / 2, 1 / log2(3) / (1 + 1 / log2(3)))),
        (["nowhere"], Found(0, 0, 0)),
    ],
)
def test_a_session_is_found_with_any_of_its_turns(shown: list[str], found: Found) -> None:
    assert evidence_found(talk(), shown, "session") == pytest.approx(found)


def test_the_documents_of_another_user_are_no_evidence() -> None:
    strange = replace(talk(), user_id="v")

    assert evidence_found(strange, ["1:2"]) == evidence_found(strange, ["1:2"], "session") == Found(0, 0, 0)


def test_evidence_is_rewarded_by_the_measure_that_is_named() -> None:
    episode = searched([1, 0], ("u1-0",))

    for spec, value in (("evidence:precision", 1 / 2), ("evidence:ndcg", 1 / log2(3)), ("evidence:measure=recall", 1)):
        (reward,) = rewards_of(make_reward(spec)([episode]))
        assert reward.parts == {"evidence": pytest.approx(value)}
    (unknown,) = rewards_of(make_reward("evidence:by=session")([episode]))
    assert unknown.total is None


@pytest.mark.parametrize("spec", ["evidence:f2", "evidence:by=turn"])
def test_an_unknown_measure_is_refused(spec: str) -> None:
    with pytest.raises(OptionError, match=spec.partition(":")[2].rpartition("=")[2]):
        make_reward(spec)


@pytest.mark.parametrize("wanted", [(), ((), ())])
def test_evidence_is_unscored_where_nobody_knows_the_documents(wanted: tuple[tuple[str, ...], ...]) -> None:
    (reward,) = rewards_of(make_reward("evidence")([searched([0], *wanted)]))

    assert reward.total is None
    assert reward.unscored


def test_searches_and_hits_have_their_price() -> None:
    (reward,) = rewards_of(make_reward("cost:search=0.1,hit=0.01")([searched([0, 1])]))

    assert reward.total == pytest.approx(-0.12)
    assert reward.parts == {"searches": -0.1, "hits": -0.02}


def test_a_misspelt_price_is_refused() -> None:
    with pytest.raises(OptionError, match="serach"):
        make_reward("cost:serach=0.1")
