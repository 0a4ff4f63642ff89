"""Sums of rewards, the presets, and async rewards in the environment."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import pytest
from conftest import ScriptedRetriever, make_question
from matching import naming

import profilegym.envs.profile_qa  # noqa: F401 (its warnings come once)
from profilegym import Aspect, Episode, Question, Reward, Rubric, make_reward, register_reward
from profilegym.envs.batch_step import BatchStepper
from profilegym.envs.reward import rewards_of
from profilegym.errors import OptionError, RewardError
from profilegym.rewards.compose import Compose, Term, prlm

TEA = replace(make_question(), rubric=Rubric("", (Aspect("drink", accepted=("tea",)),), reference="drink green tea"))
GOOD, LOOSE = "<think>so</think><answer>tea</answer>", "<answer>tea</answer>"


@pytest.fixture
def metrics() -> None:
    pytest.importorskip("rouge_score", reason="the metrics extra is not installed")


def answered(text: str, question: Question = TEA) -> Episode:
    episode = Episode(question)
    episode.write(text)
    return episode


async def slow(episodes: Sequence[Episode]) -> list[Reward]:
    await asyncio.sleep(0)
    return [Reward(2.0, {"slow": 2.0}) for _ in episodes]


def never(episodes: Sequence[Episode]) -> list[Reward]:
    return [Reward(None, unscored="the evaluator is down") for _ in episodes]


@pytest.mark.usefixtures("metrics")
def test_a_sum_names_and_weighs_its_parts() -> None:
    reward = make_reward("compose:1*score:rubric+0.5*structure+-1*cost:search=0.5,hit=0.1+0.25*rouge:1+L")

    good, loose = rewards_of(reward([answered(GOOD), answered(LOOSE)]))

    assert good.parts == {"score": 1, "structure": 0.5, "cost": 0, "rouge": 0.25}
    assert [good.total, loose.total] == [1.75, 1.25]
    assert good.verdict is not None


def test_a_sum_is_unscored_if_a_part_is() -> None:
    (reward,) = rewards_of(Compose((Term("slow", 1, slow), Term("judge", 1, never)))([answered(GOOD)]))

    assert reward == Reward(None, unscored="judge: the evaluator is down")


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("penalty:-0.5", ["penalty:amount='-0.5'", "at least 0"]),
        ("pr2:penalty_amount=much", ["penalty_amount='much'", "a number"]),
        ("cost:search=-0.01", ["cost:search=-0.01", "at least 0"]),
        ("cost:hit=little", ["hit='little'", "a number"]),
        ("tagpr:rubric,prmu=rubric,alpha=-1", ["tagpr:alpha=-1", "at least 0"]),
    ],
)
def test_what_is_taken_off_or_weighed_is_a_number_of_at_least_0(spec: str, told: list[str]) -> None:
    with pytest.raises(OptionError, match=naming(*told)):
        make_reward(spec)


def test_an_amount_is_named_or_stands_alone() -> None:
    assert make_reward("cost:0.25") == make_reward("cost:search=0.25") != make_reward("cost")
    assert make_reward("penalty:0.25") == make_reward("penalty:amount=0.25") != make_reward("penalty")


@pytest.mark.parametrize("spec", ["", "score:rubric", "1*structure+1*structure", "structure*1", "x+1*structure"])
def test_a_sum_that_is_not_one_is_refused(spec: str) -> None:
    with pytest.raises(OptionError, match=naming("compose", repr(spec))):
        make_reward(f"compose:{spec}")


def test_a_part_that_loses_an_episode_is_named() -> None:
    with pytest.raises(RewardError, match=naming("short", 0, 1)):
        rewards_of(Compose((Term("short", 1, lambda episodes: []),))([answered(GOOD)]))


def test_pr2_takes_half_a_point_off_for_a_broken_transcript() -> None:
    good, loose = rewards_of(make_reward("pr2")([answered(GOOD), answered(LOOSE)]))

    assert (good.total, loose.total) == (1, 0.5)
    assert loose.parts == {"score": 1, "penalty": -0.5}


@pytest.mark.usefixtures("metrics")
def test_prlm_adds_rouge_format_and_a_reward_model() -> None:
    reward = prlm(lambda episodes: [math.log(3)] * len(episodes))

    (scored,) = rewards_of(reward([answered(GOOD)]))

    assert scored.parts == {"rouge": pytest.approx(1.0), "structure": 0.1, "personalisation": pytest.approx(0.075)}


@pytest.mark.usefixtures("metrics")
def test_prlm_finds_a_reward_model_by_its_spec_and_says_when_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("def make():\n    return lambda episodes: [-1000.0, 1000.0]\n")

    first, second = rewards_of(make_reward(f"personalisation:{tmp_path / 'model.py'}:make")([answered(GOOD)] * 2))

    assert (first.total, second.total) == (0, 1)
    with pytest.raises(OptionError, match="prlm"):
        make_reward("prlm")


def test_an_environment_waits_for_an_async_reward() -> None:
    env = gym.make("profilegym/ProfileQA-v0", data=[TEA], retriever=ScriptedRetriever(), reward=slow)
    env.reset(seed=1)

    _, reward, terminated, _, info = env.step(GOOD)

    assert (reward, terminated) == (2.0, True)
    assert info["trajectory"].reward.parts == {"slow": 2.0}


def test_an_async_reward_that_breaks_is_ours_and_leaves_the_episode_unscored() -> None:
    async def broken(episodes: Sequence[Episode]) -> list[Reward]:
        raise ConnectionError("gone")

    episode = Episode(TEA)

    with pytest.raises(RewardError, match="ConnectionError: gone"):
        BatchStepper(ScriptedRetriever(), broken).step_one(episode, GOOD)

    assert episode.ended == "error"
    assert episode.reward is not None
    assert episode.reward.total is None


def test_a_reward_of_your_own_can_be_a_part() -> None:
    register_reward("my-slow", lambda: slow)

    (reward,) = rewards_of(make_reward("compose:0.5*my-slow+1*score:rubric")([answered(GOOD)]))

    assert reward.parts == {"my-slow": 1.0, "score": 1.0}
