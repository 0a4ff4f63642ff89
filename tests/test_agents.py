"""Agents keep their contract, plug in by name, and what each shows the model is what it says."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matching import naming

from profilegym import Episode, Question, Reward, Trajectory, make_retriever
from profilegym.agents.agent import AGENTS, Agent, ModelHandle, make_agent, register_agent
from profilegym.agents.models.model import MODELS, Turn, make_model, register_model
from profilegym.agents.models.scripted import Replies
from profilegym.agents.pr2 import PR2
from profilegym.agents.rollout import Job, Rollout
from profilegym.agents.turn_format import answer_with, as_call, search_for, with_call
from profilegym.apps.check import check_agent
from profilegym.envs.action import Answer, SearchProfile, parse_action
from profilegym.errors import UnknownName
from profilegym.testing import AgentContract
from profilegym.testing.agent import CHECKS
from profilegym.testing.agent_fixtures import FORGED, HIDDEN, questions
from profilegym.testing.kit import examine

EXAMPLE = f"{Path(__file__).parent.parent}/examples/my_agent.py:LooksFirst"
ANSWER = "<think>I see.</think><answer>Rooibos.</answer>"


class TestPR2(AgentContract):
    def make(self) -> Agent:
        return make_agent("pr2")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("spec", ["none", "rag", "rag-random", "recency", "plan", "scripted:oracle", EXAMPLE])
def test_every_agent_keeps_its_promises(spec: str, check: Any) -> None:
    check.run(make_agent(spec))


class Nameless(PR2):
    name = ""


class Deaf(PR2):
    """Takes no options."""

    def begin(self, question: Question, **options: Any) -> Episode:
        return Episode(question)


class OnlyTags(PR2):
    async def act(self, episode: Episode, model: ModelHandle) -> Turn:
        return Turn(answer_with("Rooibos.", "I know."))


class SearchesForItsCall(PR2):
    """Looks for what its first turn said, and takes all of the turn for that."""

    async def act(self, episode: Episode, model: ModelHandle) -> Turn:
        said = [segment.text for segment in episode.segments if segment.author == "policy"]
        if not episode.searches_left or len(said) != 1:
            return await model.turn()
        query = said[0].partition("<search>")[2].partition("</search>")[0] or said[0]
        return Turn(search_for(query, "Once more.", episode.protocol))


class OnlyTools(PR2):
    async def act(self, episode: Episode, model: ModelHandle) -> Turn:
        return Turn(answer_with("Rooibos.", "I know.", "tools"))


class Counting(PR2):
    """Numbers its turns, whoever they are for."""

    def __init__(self) -> None:
        self.turns = 0

    async def act(self, episode: Episode, model: ModelHandle) -> Turn:
        self.turns += 1
        return Turn(answer_with(f"It is {self.turns}.", "I count.", episode.protocol))


class Peeking(PR2):
    """Asks the model aside what the reference is worth."""

    async def act(self, episode: Episode, model: ModelHandle) -> Turn:
        await model.side_query(f"Is this right? {episode.question.rubric.reference}")
        return await model.turn()


class Gossip(PR2):
    """Tells the model what was asked before."""

    before = ""

    async def act(self, episode: Episode, model: ModelHandle) -> Turn:
        before, self.before = self.before, episode.question.text
        await model.side_query(f"Before, somebody asked: {before}")
        return await model.turn()


class Naive(PR2):
    """Repeats foreign text in its own turn."""

    async def act(self, episode: Episode, model: ModelHandle) -> Turn:
        text = f"<think>{episode.question.text}</think><answer>Rooibos.</answer>"
        return Turn(text if episode.protocol == "tags" else as_call(ANSWER))


class Fussy(PR2):
    """Insists on an action."""

    async def act(self, episode: Episode, model: ModelHandle) -> Turn:
        turn = await model.turn()
        if not isinstance(parse_action(turn.text, episode.protocol), Answer | SearchProfile):
            raise ValueError("no action")
        return turn


class Bluffing(PR2):
    """Answers by itself when the model fails."""

    async def act(self, episode: Episode, model: ModelHandle) -> Turn:
        try:
            return await model.turn()
        except Exception:
            return Turn(answer_with("Rooibos.", "I guess.", episode.protocol))


@pytest.mark.parametrize(
    ("agent", "broken"),
    [
        (Nameless, {"says what it is"}),
        (Deaf, {"begins"}),
        (OnlyTags, {"speaks tools", "hostile texts"}),
        (OnlyTools, {"speaks tags", "hostile texts"}),
        (SearchesForItsCall, {"speaks tools"}),
        (Counting, {"stateless", "many at once"}),
        (Peeking, {"hides the rubric"}),
        (Gossip, {"many at once"}),
        (Naive, {"hostile texts"}),
        (Fussy, {"unruly models"}),
        (Bluffing, {"failing models"}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_broken_promise_is_found(agent: type[PR2], broken: set[str]) -> None:
    findings = list(examine(agent(), CHECKS))

    assert {finding.check.name for finding in findings if not finding.passed} == broken


def test_the_report_card_says_what_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_agent("recency") == 0
    kept = capsys.readouterr().out
    assert check_agent(f"{__file__}:Naive", as_json=True) == 1
    card = json.loads(capsys.readouterr().out)

    assert f"{len(CHECKS)} of {len(CHECKS)} promises kept" in kept
    (broken,) = [check for check in card["checks"] if not check["passed"]]
    assert broken["name"] == "hostile texts"
    assert FORGED in broken["counterexample"]


def test_the_kits_people_are_of_several_kinds_and_hide_what_is_hidden() -> None:
    asked = questions()

    assert {question.rubric.hops for question in asked} == {0, 1, 2}
    assert len({question.text for question in asked}) == len({question.user_id for question in asked}) == len(asked)
    assert all(set(HIDDEN) <= {question.rubric.narrative, *_of(question)} for question in asked)


def _of(question: Question) -> set[str | None]:
    aspects = question.rubric.aspects
    return {word for aspect in aspects for word in (aspect.title, aspect.reason, aspect.evidence)} | {
        question.rubric.reference
    }


def play(agent: str, question: Question, model: Any, **options: Any) -> Trajectory:
    rollout = Rollout(model, make_retriever("bm25"), lambda episodes: [Reward(1.0)] * len(episodes), options=options)

    async def run() -> Trajectory:
        (trajectory,) = [played async for played in rollout.run([Job(question, make_agent(agent))])]
        return trajectory

    return asyncio.run(run())


def test_without_a_profile_nothing_can_be_searched(ask: Callable[..., Question]) -> None:
    model = Replies(["<search>tea</search>"])

    trajectory = play("none", ask(), model)

    assert (trajectory.kind, trajectory.ended, list(trajectory.searches)) == ("baseline", "budget", [])
    assert "There is nothing to search this time" in model.seen[0]


def test_rag_shows_what_the_question_finds_before_the_only_turn(ask: Callable[..., Question]) -> None:
    model = Replies([ANSWER])

    trajectory = play("rag", ask(text="What rooibos shall I drink?"), model)

    assert [search.query for search in trajectory.searches] == ["What rooibos shall I drink?"]
    assert model.seen[0].endswith("<information>\n1. [2024-01-01] I only drink rooibos.\n</information>\n\n")


def test_recency_shows_the_latest_posts(ask: Callable[..., Question]) -> None:
    model = Replies([ANSWER])

    play("recency", ask(), model)

    assert "1. [2024-01-02] My dog is called Milo.\n2. [2024-01-01] I only drink rooibos." in model.seen[0]


def test_a_plan_is_searched_aspect_by_aspect(ask: Callable[..., Question]) -> None:
    model = Replies(["Here it is:\n- their <dog>\n2) rooibos\n\n* sleep", ANSWER])

    trajectory = play("plan", ask(), model, max_searches=3)

    assert [search.query for search in trajectory.searches] == ["Here it is:", "their &lt;dog>", "rooibos"]
    assert trajectory.usage is not None
    assert trajectory.usage["turns"] == 2


def test_what_a_model_thinks_before_it_plans_is_no_query(ask: Callable[..., Question]) -> None:
    model = Replies(["<think>\nThe user asks about drinks.\n</think>\n\ntheir dog\nrooibos", ANSWER])

    trajectory = play("plan", ask(), model, max_searches=3)

    assert [search.query for search in trajectory.searches] == ["their dog", "rooibos"]


def test_a_plan_with_tools_searches_for_its_aspects_and_not_for_its_calls(ask: Callable[..., Question]) -> None:
    model = Replies(["their dog\nrooibos", answer_with("Rooibos.", "I see.", "tools")])

    trajectory = play("plan", ask(), model, max_searches=3, protocol="tools")

    assert [search.query for search in trajectory.searches] == ["their dog", "rooibos"]


@pytest.mark.parametrize("agent", ["rag", "plan", "r2p:candidates=1", EXAMPLE])
def test_what_is_searched_for_a_question_as_a_whole_is_not_its_instruction(
    agent: str, ask: Callable[..., Question]
) -> None:
    question = replace(
        ask(), text="What is the score on a scale of 1 to 5? review: The kettle drips.", query="The kettle"
    )

    trajectory = play(agent, question, Replies(["\n"] * (agent == "plan") + [ANSWER] * 9))

    assert trajectory.searches[0].query == "The kettle"


def test_a_plan_of_nothing_is_the_question_itself(ask: Callable[..., Question]) -> None:
    trajectory = play("plan", ask(), Replies(["\n", ANSWER]))

    assert [search.query for search in trajectory.searches] == ["What shall I drink?"]


@pytest.mark.parametrize("content", ["tea", "</tool_call><tool_call>", "a < b", '"quoted" \\ \n'])
def test_what_agents_write_is_read_as_it_was_meant(content: str) -> None:
    assert parse_action(search_for(content, "<tool_call>", "tools"), "tools") == SearchProfile(content.strip())
    assert parse_action(answer_with(content, "</think>", "tools"), "tools") == Answer(content.strip())
    assert parse_action(with_call("I <tool_call>", "answer", {"text": content}), "tools") == Answer(content.strip())
    assert parse_action(answer_with(content, "</answer>")) == Answer(content.replace("<", "&lt;").strip())


def test_a_turn_in_tags_becomes_a_call() -> None:
    assert parse_action(as_call("<search>tea</search>"), "tools") == SearchProfile("tea")
    assert parse_action(as_call(ANSWER), "tools") == Answer("Rooibos.")
    assert as_call("Rooibos.") == "Rooibos."


PLUGIN = """
from profilegym.agents.models.scripted import ScriptedModel
from profilegym.agents.pr2 import PR2

class Hasty(PR2):
    def __init__(self, most=1):
        self.name, self.most = f"hasty-{most}", most

    def begin(self, question, **options):
        return super().begin(question, **(options | {"max_searches": self.most}))

def parrot(word="yes"):
    return ScriptedModel(f"parrot-{word}", lambda question, said: f"<answer>{word}</answer>")
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with an agent and a model, each under an entry point, and its file."""
    (tmp_path / "hastypack.py").write_text(PLUGIN)
    metadata = tmp_path / "hastypack-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: hastypack\nVersion: 1.0\n")
    groups = "[profilegym.agents]\nhasty = hastypack:Hasty\n[profilegym.models]\nparrot = hastypack:parrot\n"
    (metadata / "entry_points.txt").write_text(groups)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(AGENTS, "_registered", {})
    monkeypatch.setattr(MODELS, "_registered", {})
    return tmp_path / "hastypack.py"


def test_an_agent_and_a_model_by_entry_point(plugin: Path, ask: Callable[..., Question]) -> None:
    trajectory = play("hasty:most=2", ask(), make_model("parrot:no"))

    assert (trajectory.agent, trajectory.model, trajectory.answer) == ("hasty-2", "scripted:parrot-no", "no")
    assert "hasty" in AGENTS.names()
    assert "parrot" in MODELS.names()


def test_an_agent_and_a_model_by_file_and_by_name(plugin: Path) -> None:
    register_agent("mine", PR2)
    register_model("mine", lambda: Replies([]))

    hasty: Any = make_agent(f"{plugin}:Hasty,most=3")

    assert hasty.most == 3
    assert make_model(f"{plugin}:parrot").name == "scripted:parrot-yes"
    assert make_agent("mine").name == "pr2"
    assert make_model("mine").name == "scripted:replies"


def test_what_nobody_knows_is_named_with_what_is_known() -> None:
    with pytest.raises(UnknownName, match=naming("pr3", "none", "plan", "pr2")):
        make_agent("pr3")
    with pytest.raises(UnknownName, match=naming("gpt", "hf", "openai", "pilot", "scripted")):
        make_model("gpt")


def test_objects_are_what_they_are() -> None:
    agent, model = PR2(), Replies([])

    assert make_agent(agent) is agent
    assert make_model(model) is model
