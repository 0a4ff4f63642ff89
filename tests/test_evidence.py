"""What the searches found, and what they cost."""

from dataclasses import replace

import pytest
from conftest import ScriptedRetriever, make_question

from profilegym import Aspect, Episode, Hit, Rubric, make_reward
from profilegym.envs.batch_step import BatchStepper
from profilegym.envs.reward import no_reward, rewards_of
from profilegym.errors import OptionError


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
