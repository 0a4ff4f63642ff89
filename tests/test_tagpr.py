"""TagPR's agent asks for tagged steps, and what comes of them can be told from the record."""

import asyncio
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from matching import naming

from profilegym import Question, make_retriever
from profilegym.agents.agent import make_agent
from profilegym.agents.models.scripted import Replies, ScriptedModel
from profilegym.envs.tagpr_tags import TAGS
from profilegym.envs.trajectory import Segment
from profilegym.errors import ModelError, OptionError
from profilegym.evaluation.evaluate import Settings as Run
from profilegym.evaluation.evaluate import evaluate
from profilegym.evaluation.recorded_run import RecordedRun
from profilegym.evaluation.run import RunDirectory
from profilegym.evaluation.summary import compliance, score_of
from profilegym.testing.agent import CHECKS
from profilegym.training.tagging import Tagging, UnusableChain, label, steps, tag
from profilegym.world.players.steps import play


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_tagpr_keeps_the_promises_of_an_agent(check: Any) -> None:
    check.run(make_agent("tagpr"))


def test_all_tags_are_named_with_what_they_are_for(ask: Callable[..., Question]) -> None:
    instructions = make_agent("tagpr").begin(ask()).instructions

    assert len(TAGS) == 9
    assert all(f"<{tag}>{does}</{tag}>" in instructions for tag, does in TAGS.items())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chains of a model that reasons in sentences."""
    folder = tmp_path_factory.mktemp("run")
    settings = Run("rag", "scripted:steps", "world:seed=3,users=30/train", limit=60)
    asyncio.run(evaluate(settings, RunDirectory(folder)))
    return folder


def of(run: Path, labeller: str = "scripted:steps", least: float = 1.0) -> Tagging:
    return Tagging(str(run), labeller, least)


def test_what_led_to_good_answers_is_tagged_and_the_rest_dropped(run: Path, tmp_path: Path) -> None:
    report = tag(of(run), tmp_path)

    chains = list(RunDirectory(tmp_path).trajectories())
    assert len(chains) == report["kept"] > 10
    assert report["dropped"] == {"the answer scored less than 1": 60 + 60 - report["kept"]}
    assert report["failed"] == {}
    assert all(score_of(chain) == 1 and chain.structure_ok for chain in chains)
    assert all(compliance(chain) for chain in chains if chain.agent == "tagpr")


def test_a_chain_without_the_profile_is_asked_for_the_same_steps(tmp_path: Path) -> None:
    settings = Run("rag", "scripted:world", "world-lamp-2:seed=3,users=20/train", limit=40)
    asyncio.run(evaluate(settings, RunDirectory(tmp_path / "run")))

    tag(of(tmp_path / "run"), tmp_path / "chains")

    chains = list(RunDirectory(tmp_path / "chains").trajectories())
    without = [chain for chain in chains if chain.kind == "baseline"]
    assert 0 < len(without) < len(chains)
    assert {chain.prompt for chain in without} == {chain.prompt for chain in chains}
    assert all(chain.agent == "none" and not chain.searches for chain in without)
    assert all("<understand_task>" in chain.segments[-1].text for chain in without)


def test_a_step_has_the_lines_that_the_chain_had(tmp_path: Path) -> None:
    settings = Run("rag", "scripted:world", "world-lamp-2:seed=3,users=20/train", limit=4)
    asyncio.run(evaluate(settings, RunDirectory(tmp_path / "run")))

    tag(of(tmp_path / "run", least=0), tmp_path / "chains")

    listed = [chain.segments[-1].text for chain in RunDirectory(tmp_path / "chains").trajectories() if chain.searches]
    assert len(listed) == 4
    assert all(re.search(r"<examine_examples>A post says:(\n\d\. .+: .+\.)+</examine_examples>", one) for one in listed)


def test_a_chain_is_the_episode_that_tagprs_agent_would_have_played(run: Path, tmp_path: Path) -> None:
    tag(of(run), tmp_path)

    chain = next(one for one in RunDirectory(tmp_path).trajectories() if one.kind == "personalised")
    asked = RecordedRun(RunDirectory(run)).find(chain.question_id)
    episode = make_agent("tagpr").begin(asked)
    episode.add_hits(make_retriever("bm25").search(asked.profile, episode.query, episode.fetch_k))
    assert chain.segments[0] == episode.segments[0]
    assert chain.prompt == episode.trajectory().prompt


def test_sentences_in_a_row_that_do_the_same_are_one_step() -> None:
    text = steps(["I <see>.", "And more.", "So tea."], ["link_evidence", "link_evidence", "compose_answer"])

    assert text == "<link_evidence>I &lt;see>. And more.</link_evidence>\n<compose_answer>So tea.</compose_answer>"


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        ("1 understand_task\n2 guess", 2),
        ("1. <understand_task>", 2),
        ("I would rather not.", 1),
    ],
)
def test_a_sentence_without_a_known_tag_spoils_the_chain(
    reply: str, sentence: int, ask: Callable[..., Question]
) -> None:
    with pytest.raises(UnusableChain, match=naming(sentence)):
        asyncio.run(label(Replies([reply]), ask(), ["I look.", "I see."]))


def test_the_labeller_is_shown_the_tags_the_question_and_the_sentences(ask: Callable[..., Question]) -> None:
    model = Replies(["1: understand_task\n2) **compose_answer**"])

    labels = asyncio.run(label(model, ask(), ["I {{look}}.", "I see.\nThen <more>."]))

    assert labels == ["understand_task", "compose_answer"]
    assert model.seen[0].endswith("Question: What shall I drink?\n\n1. I {{look}}.\n2. I see. Then &lt;more>.")
    assert all(f"{name}: {does}" in model.seen[0] for name, does in TAGS.items())


def test_a_tagging_that_is_called_again_asks_for_what_failed_and_nothing_else(run: Path, tmp_path: Path) -> None:
    class Flaky(ScriptedModel):
        def __init__(self, most: int) -> None:
            super().__init__("flaky", self._some)
            self.asked, self._most = 0, most

        def _some(self, question: Question, said: Sequence[Segment]) -> str:
            self.asked += 1
            if self.asked > self._most:
                raise ModelError("the labeller is tired")
            return play(question, said)

    first, second = Flaky(4), Flaky(1000)
    before = tag(of(run), tmp_path, first)
    after = tag(of(run), tmp_path, second)

    assert (before["kept"], before["failed"]) == (4, {"the labeller is tired": after["kept"] - 4})
    assert after["failed"] == {}
    assert second.asked == after["kept"] - 4
    assert before["dropped"] == after["dropped"]


def test_another_threshold_is_another_tagging(run: Path, tmp_path: Path) -> None:
    tag(of(run), tmp_path)

    with pytest.raises(OptionError, match=naming(tmp_path, "least", 1.0, 0.5)):
        tag(of(run, least=0.5), tmp_path)


def test_a_model_learns_the_tags_and_not_the_prompt(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from transformers import AutoTokenizer

    from profilegym.training.sft import examples_of
    from profilegym.world.pilot.model import FOLDER

    tag(of(run), tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    chain = next(RunDirectory(tmp_path).trajectories())
    (one,) = examples_of([chain.segments], tokenizer)

    learned = tokenizer.decode([token for token in one.labels if token >= 0])
    assert learned == chain.segments[1].text
    assert len(one.input_ids) == len(one.labels) < 1024
