"""PrLM's agent shows what the question finds and asks for reasoning over it; its reward is made of what it says."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from profilegym import Episode, Question, Trajectory, make_retriever
from profilegym.agents.agent import make_agent
from profilegym.agents.models.scripted import Replies
from profilegym.agents.rollout import Job, Rollout
from profilegym.evaluation.evaluate import Settings, evaluate
from profilegym.evaluation.run import RunDirectory
from profilegym.testing.agent import CHECKS

ANSWER = "<think>They drink nothing else.</think><answer>Rooibos.</answer>"


def play(agent: str, question: Question, model: Any) -> Trajectory:
    async def run() -> Trajectory:
        rollout = Rollout(model, make_retriever("bm25"))
        (trajectory,) = [played async for played in rollout.run([Job(question, make_agent(agent))])]
        return trajectory

    return asyncio.run(run())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_prlm_keeps_the_promises_of_an_agent(check: Any) -> None:
    check.run(make_agent("prlm"))


def test_the_profile_is_searched_once_and_reasoned_about(ask: Callable[..., Question]) -> None:
    model = Replies([ANSWER])

    trajectory = play("prlm", ask(text="Which rooibos?"), model)

    (shown,) = model.seen
    instructions, _, posts = shown.partition("\n\nQuestion: Which rooibos?")
    assert "Reason inside <think> about the person before you answer" in instructions
    assert "I only drink rooibos." in posts
    assert [search.query for search in trajectory.searches] == ["Which rooibos?"]
    assert trajectory.structure_ok


def test_a_guide_changes_the_prompt_and_its_version_and_nothing_else(ask: Callable[..., Question]) -> None:
    plain, guided = Episode(ask()), Episode(ask(), instructions="Be {{brief}}.")

    assert guided.observation.replace("Be {{brief}}.\n\n", "") == plain.observation
    assert str(guided.trajectory().prompt).startswith(f"{plain.trajectory().prompt}+")
    assert guided.trajectory().prompt != Episode(ask(), instructions="Be long.").trajectory().prompt


def test_the_baseline_is_asked_to_reason_in_the_same_way(tmp_path: Path) -> None:
    settings = Settings("prlm", "scripted:world", "world:seed=3,users=10/test", limit=2)

    asyncio.run(evaluate(settings, RunDirectory(tmp_path)))

    instructions = make_agent("prlm").instructions
    prompts = {(one.kind, one.prompt) for one in RunDirectory(tmp_path).trajectories()}
    baselines = [one for one in RunDirectory(tmp_path).trajectories() if one.kind == "baseline"]
    assert len(baselines) == 2
    assert all(instructions in one.segments[0].text for one in baselines)
    assert len({prompt for _, prompt in prompts}) == 1


def test_another_persons_posts_can_be_reasoned_about_as_well(ask: Callable[..., Question]) -> None:
    other = make_agent("prlm:profile=random")

    assert (other.profile, other.instructions) == ("random", make_agent("prlm").instructions)
