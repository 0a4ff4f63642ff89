"""A run's queries asked elsewhere, and its episodes gone on with from a step."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matching import naming

from profilegym import Question, Trajectory
from profilegym.agents.agent import ModelHandle, make_agent
from profilegym.agents.models.model import Turn, register_model
from profilegym.agents.models.scripted import Replies, ScriptedModel
from profilegym.agents.replay import Replayed, recorded_turns
from profilegym.agents.turn_format import answer_with, search_for
from profilegym.apps.replay import run_replay
from profilegym.envs.chat import Sampling
from profilegym.envs.trajectory import Segment
from profilegym.errors import DataError, OptionError
from profilegym.evaluation.branch import Changes, branch
from profilegym.evaluation.evaluate import Settings, Speed, evaluate
from profilegym.evaluation.recorded_run import RecordedRun
from profilegym.evaluation.replay import Row, replay
from profilegym.evaluation.report import write_report
from profilegym.evaluation.run import RunDirectory
from profilegym.world.players.oracle import play

ORACLE = Settings(model="scripted:oracle", data="world:seed=7,users=40/test")


def clumsy(question: Question, said: Sequence[Segment]) -> str:
    """Asks the question twice, then gives up."""
    made = sum(segment.author == "policy" for segment in said)
    may_search = "nothing to search" not in said[0].text
    return search_for(question.text, f"try {made}") if may_search and made < 2 else answer_with("I give up.", "")


register_model("clumsy", lambda: ScriptedModel("clumsy", clumsy))


def played(out: Path, settings: Settings) -> RecordedRun:
    asyncio.run(evaluate(settings, RunDirectory(out)))
    return RecordedRun(RunDirectory(out))


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> RecordedRun:
    return played(tmp_path_factory.mktemp("oracle"), ORACLE)


@pytest.fixture(scope="module")
def clumsily(tmp_path_factory: pytest.TempPathFactory) -> RecordedRun:
    return played(tmp_path_factory.mktemp("clumsy"), replace(ORACLE, model="clumsy", seeds=2))


def figure(run: RecordedRun, name: str, **otherwise: Any) -> Row:
    return next(row for row in replay(run, **otherwise).rows if row.figure == name)


def again(parent: RecordedRun, out: Path, step: int, **otherwise: Any) -> dict[str, Trajectory]:
    run = RunDirectory(out)
    asyncio.run(branch(parent, Changes(step, **otherwise), run, Speed()))
    return {trajectory.id: trajectory for trajectory in run.trajectories()}


def personalised(run: RecordedRun) -> dict[str, Trajectory]:
    return {trajectory.id: trajectory for trajectory in run.trajectories() if trajectory.kind == "personalised"}


@pytest.mark.parametrize("agent", ["pr2", "rag", "rag-random", "recency", "plan"])
def test_the_same_retriever_finds_the_same(agent: str, tmp_path: Path) -> None:
    run = played(tmp_path, replace(ORACLE, agent=agent, model="clumsy"))

    found = replay(run)

    assert (found.overlap.mean, found.overlap.high) == (1, 1)
    for row in found.rows:
        assert (row.difference.mean, row.difference.low, row.difference.high) == (0, 0, 0)


def test_showing_fewer_posts_shows_less_evidence(clumsily: RecordedRun) -> None:
    recorded, fewer = figure(clumsily, "evidence"), figure(clumsily, "evidence", top_k=1)

    assert fewer.recorded == recorded.recorded
    assert (fewer.difference.high or 0) < 0
    assert 0 < (replay(clumsily, top_k=1).overlap.mean or 0) < 1


def test_another_retriever_is_asked_the_recorded_queries(oracle: RecordedRun) -> None:
    recent = figure(oracle, "rank", retriever="recency")

    assert (recent.recorded.mean or 0) > 0.8
    assert (recent.difference.high or 0) < -0.5


@pytest.mark.parametrize("profile", ["random", "empty"])
def test_without_the_askers_posts_there_is_no_evidence(profile: str, oracle: RecordedRun) -> None:
    found = replay(oracle, profile=profile)  # type: ignore[arg-type]

    assert next(row for row in found.rows if row.figure == "evidence").replayed.mean == 0
    assert found.overlap.mean == 0
    empty = next(row for row in found.rows if row.figure == "empty").replayed.mean
    assert empty == 1 if profile == "empty" else empty != 1


def test_a_run_without_searches_has_nothing_to_replay(tmp_path: Path) -> None:
    run = played(tmp_path, replace(ORACLE, agent="none", limit=4))

    with pytest.raises(DataError, match=naming(tmp_path)):
        replay(run)


def test_the_first_steps_are_those_recorded_word_for_word(clumsily: RecordedRun, tmp_path: Path) -> None:
    children = again(clumsily, tmp_path, 1, model="scripted:oracle")

    recorded = personalised(clumsily)
    assert children.keys() == recorded.keys()
    for name, child in children.items():
        assert child.segments[:3] == recorded[name].segments[:3]
        assert child.search_fields[:3] == recorded[name].search_fields[:3]
        assert child.parent == {"id": name, "step": 1}
        assert "I give up" not in (child.answer or "")


def test_playing_on_with_the_same_model_gives_the_same_episode(clumsily: RecordedRun, tmp_path: Path) -> None:
    recorded = personalised(clumsily)

    for name, child in again(clumsily, tmp_path, 1).items():
        usage, parent = recorded[name].usage, {"id": name, "step": 1}
        assert replace(child, usage=usage, baseline=recorded[name].baseline) == replace(recorded[name], parent=parent)


def test_more_steps_than_were_recorded_keep_the_whole_episode(clumsily: RecordedRun, tmp_path: Path) -> None:
    for child in again(clumsily, tmp_path, 9, model="scripted:oracle").values():
        assert child.answer == "I give up."


def test_playing_anew_goes_on_where_it_was_cut_short(clumsily: RecordedRun, tmp_path: Path) -> None:
    whole = again(clumsily, tmp_path, 1)
    file = tmp_path / "trajectories.jsonl"
    kept = file.read_bytes().splitlines(keepends=True)[:5]
    file.write_bytes(b"".join(kept) + b'{"half')

    assert again(clumsily, tmp_path, 1) == whole
    assert file.read_bytes().startswith(b"".join(kept))
    with pytest.raises(OptionError, match=naming(tmp_path, "from_step", 1, 2)):
        again(clumsily, tmp_path, 2)


def test_attempts_may_have_names_such_as_those_of_a_server(clumsily: RecordedRun, tmp_path: Path) -> None:
    served = RunDirectory(tmp_path / "served")
    with served.writing({**clumsily.settings, "limit": 2}), served.writer() as writer:
        for name, recorded in list(personalised(clumsily).items())[:2]:
            writer.write(replace(recorded, id=f"{name.rpartition(':')[0]}:7f3a-1"))

    children = again(RecordedRun(served), tmp_path / "again", 1, model="scripted:oracle")

    assert children.keys() == personalised(RecordedRun(served)).keys()


def test_a_run_that_goes_on_from_another_has_a_report_with_its_command(clumsily: RecordedRun, tmp_path: Path) -> None:
    again(clumsily, tmp_path, 1, top_k=1)

    write_report(RunDirectory(tmp_path))

    command = f"profilegym replay {clumsily.run.path} --from-step 1 --agent pr2 --model clumsy"
    assert f"{command} --retriever bm25 --top-k 1 --out DIR" in (tmp_path / "report.html").read_text("utf-8")


def test_recorded_tokens_are_said_again_exactly(oracle: RecordedRun) -> None:
    trajectory = next(t for t in oracle.trajectories() if len(t.searches) > 1)
    for place, part in enumerate(range(2, len(trajectory.segment_fields), 4)):
        trajectory.segment_fields[part] = [place, place + 1]  # type: ignore[index]
    agent = Replayed(make_agent("pr2"), trajectory, 1)
    question = oracle.find(trajectory.question_id)

    first, second = asyncio.run(two_turns(agent, question))

    assert first.tokens == trajectory.segments[1].tokens
    assert first.segment_tokens == [trajectory.segments[0].tokens]
    assert second.text == "<answer>mine</answer>"


async def two_turns(agent: Replayed, question: Question) -> list[Turn]:
    episode = agent.begin(question)
    model = ModelHandle(Replies(["<answer>mine</answer>"]), episode, Sampling())
    turns = []
    for _ in range(2):
        turns.append(await agent.act(episode, model))
        episode.write(turns[-1].text, turns[-1].tokens, turns[-1].logprobs, turns[-1].segment_tokens)
        if episode.needs == "search":
            episode.add_hits([])
    return turns


def test_the_tokens_of_what_reads_otherwise_now_are_not_those_recorded(oracle: RecordedRun) -> None:
    trajectory = next(t for t in oracle.trajectories() if len(t.searches) > 1)
    trajectory.segment_fields[2] = [1, 2, 3]  # type: ignore[index]
    agent = Replayed(make_agent("pr2"), trajectory, 1)
    episode = agent.begin(oracle.find(trajectory.question_id), top_k=1)

    turn = asyncio.run(agent.act(episode, ModelHandle(Replies([]), episode, Sampling())))

    assert turn.segment_tokens == [None]


def test_turns_are_the_policys(oracle: RecordedRun) -> None:
    trajectory = next(t for t in oracle.trajectories() if len(t.searches) > 1)

    turns = recorded_turns(trajectory)

    assert len(turns) == len(trajectory.searches) + 1
    assert all(turn.author == "policy" for turn in turns)
    assert turns[0].text == play(oracle.find(trajectory.question_id), trajectory.segments[:1])


def test_a_step_before_the_first_is_refused() -> None:
    with pytest.raises(OptionError, match="step=-1"):
        Changes(-1)


def test_the_command_tells_what_was_found(clumsily: RecordedRun, capsys: pytest.CaptureFixture[str]) -> None:
    run_replay(clumsily.run.path, None, 1, None)
    shown = capsys.readouterr().out
    run_replay(clumsily.run.path, None, 1, None, as_json=True)

    assert "evidence" in shown
    assert "overlap" in shown
    assert json.loads(capsys.readouterr().out)["queries"] == replay(clumsily).queries


def test_a_local_model_goes_on_from_any_step_as_it_went_on_then(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the train extra is not installed").set_num_threads(1)
    parent = played(tmp_path / "parent", replace(ORACLE, model="pilot", limit=6))

    children = again(parent, tmp_path / "again", 1)

    for name, recorded in personalised(parent).items():
        said = [(segment.text, segment.tokens) for segment in recorded.segments]
        assert [(segment.text, segment.tokens) for segment in children[name].segments] == said
        assert any(tokens for _, tokens in said)


def test_a_run_with_tools_replays_to_the_same_calls_and_branches_off_one(tmp_path: Path) -> None:
    tools = "search_profile+read_around+latest"
    settings = replace(ORACLE, agent="scripted:searcher", model="scripted:searcher", tools=tools, max_shown=15, limit=8)
    run = played(tmp_path / "run", replace(settings, cites=True, costs="read_around=0.1"))

    found = replay(run)
    branched = again(run, tmp_path / "branch", 2)

    assert found.overlap.mean == 1
    assert all(row.difference.mean == 0 for row in found.rows if row.recorded.mean is not None)
    assert any(search.tool == "read_around" for t in personalised(run).values() for search in t.searches)
    for name, recorded in personalised(run).items():
        now = branched[name]
        assert now.segments == recorded.segments
        assert [(s.tool, s.arguments, s.hits) for s in now.searches] == [
            (s.tool, s.arguments, s.hits) for s in recorded.searches
        ]
        assert now.cites == recorded.cites
