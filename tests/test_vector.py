from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import profilegym as pg
from profilegym.envs.errors import EpisodeError, OptionError, RewardError
from profilegym.envs.profile_qa_vector import ProfileQAVectorEnv

ID = "profilegym/ProfileQA-v0"
TURNS = ["<search>tea</search>", "oops", "<answer>Rooibos</answer>"]


def by_names(mode: str, **kwargs: Any) -> Any:
    return gym.make_vec(
        ID,
        3,
        vectorization_mode=mode,
        data="world:users=10",
        retriever="bm25",
        reward="rubric",
        max_searches=3,
        **kwargs,
    )


def run(venv: Any, seed: int = 7, steps: int = 8) -> list[Any]:
    observations, infos = venv.reset(seed=seed)
    record: list[Any] = [observations, [str(i) for i in infos["question_id"]]]
    for step in range(steps):
        actions = tuple(TURNS[(step + place) % len(TURNS)] for place in range(venv.num_envs))
        observations, rewards, terminated, truncated, infos = venv.step(actions)
        record += [observations, rewards.tolist(), terminated.tolist(), truncated.tolist(), sorted(infos)]
        record += [[t and t.answer for t in infos["trajectory"]] if "trajectory" in infos else None]
    venv.close()
    return record


@pytest.mark.parametrize("autoreset", ["NextStep", "SameStep"])
def test_the_vector_does_what_as_many_single_environments_do(autoreset: str) -> None:
    vector = run(by_names("vector_entry_point", autoreset_mode=autoreset))

    single = run(by_names("sync", vector_kwargs={"autoreset_mode": autoreset}))

    assert vector == single


@pytest.mark.parametrize("shared_memory", [True, False])
def test_environments_in_processes_of_their_own_do_the_same(shared_memory: bool) -> None:
    async_venv = by_names("async", vector_kwargs={"shared_memory": shared_memory})

    assert run(async_venv, steps=4) == run(by_names("sync"), steps=4)


def test_a_step_makes_one_search_call_and_one_reward_call(questions: pg.QuestionList, retriever: Any) -> None:
    calls: list[int] = []

    def reward(episodes: Any) -> list[pg.Reward]:
        calls.append(len(episodes))
        return [pg.Reward(1.0)] * len(episodes)

    venv = ProfileQAVectorEnv(questions, retriever, reward, num_envs=4)
    venv.reset(seed=1)

    venv.step(["<search>tea</search>"] * 3 + ["<answer>x</answer>"])

    assert (retriever.batches, retriever.searches, calls) == (1, 3, [1])


def test_next_step_autoreset_begins_the_next_episode_and_drops_the_action(
    questions: pg.QuestionList, retriever: Any, length_reward: Any
) -> None:
    venv = ProfileQAVectorEnv(questions, retriever, length_reward, num_envs=2)
    venv.reset(seed=1)
    venv.step(["<answer>tea</answer>", "<search>tea</search>"])

    observations, rewards, terminated, _, infos = venv.step(["<answer>lost</answer>", "<answer>milk!</answer>"])

    assert observations[0].startswith("Answer the question")
    assert rewards.tolist() == [0.0, 5.0]
    assert terminated.tolist() == [False, True]
    assert infos["_question_id"].tolist() == [True, False]
    assert infos["_trajectory"].tolist() == [False, True]


def test_same_step_autoreset_keeps_the_last_observation_and_info(
    questions: pg.QuestionList, retriever: Any, length_reward: Any
) -> None:
    venv = ProfileQAVectorEnv(questions, retriever, length_reward, num_envs=2, autoreset_mode="SameStep")
    venv.reset(seed=1)

    observations, rewards, terminated, _, infos = venv.step(["<answer>tea</answer>", "hm"])

    assert observations[0].startswith("Answer the question")
    assert (rewards.tolist(), terminated.tolist()) == ([3.0, 0.0], [True, False])
    assert infos["final_obs"][0] == ""
    assert infos["final_info"]["trajectory"][0].answer == "tea"
    assert infos["_final_info"].tolist() == [True, False]


def test_without_autoreset_a_mask_says_who_begins_anew(
    questions: pg.QuestionList, retriever: Any, length_reward: Any
) -> None:
    venv = ProfileQAVectorEnv(questions, retriever, length_reward, num_envs=2, autoreset_mode="Disabled")
    venv.reset(seed=1, options={"question_id": ["q0", "q1"]})
    venv.step(["<answer>tea</answer>", "<search>tea</search>"])
    with pytest.raises(EpisodeError, match=r"places \[0\] are over"):
        venv.step(["hm", "hm"])

    observations, infos = venv.reset(options={"reset_mask": np.array([True, False]), "question_id": "q4"})

    assert "Question number 4?" in observations[0]
    assert "rooibos" in observations[1]
    assert infos["_question_id"].tolist() == [True, False]
    assert venv.step(["hm", "hm"])[2].tolist() == [False, False]


def test_one_question_may_be_asked_everywhere(questions: pg.QuestionList, retriever: Any) -> None:
    venv = ProfileQAVectorEnv(questions, retriever, num_envs=3)

    observations, _ = venv.reset(options={"question_id": "q3"})

    assert all("Question number 3?" in observation for observation in observations)


def test_a_failure_of_ours_is_raised_and_recorded_on_every_episode_it_hit(
    questions: pg.QuestionList, retriever: Any
) -> None:
    def broken(episodes: Any) -> list[pg.Reward]:
        raise TimeoutError("no judge")

    venv = ProfileQAVectorEnv(questions, retriever, broken, num_envs=3)
    venv.reset(seed=1)

    with pytest.raises(RewardError, match="TimeoutError: no judge"):
        venv.step(["<answer>a</answer>", "<answer>b</answer>", "<search>tea</search>"])

    assert [episode.ended for episode in venv.episodes] == ["error", "error", None]
    assert all(episode.reward is None or episode.reward.total is None for episode in venv.episodes)


def test_a_misuse_says_what_to_do(questions: pg.QuestionList, retriever: Any) -> None:
    venv = ProfileQAVectorEnv(questions, retriever, num_envs=2)

    with pytest.raises(EpisodeError, match="reset"):
        venv.step(["a", "b"])
    venv.reset(seed=[1, 2])
    with pytest.raises(EpisodeError, match="1 actions for 2 episodes"):
        venv.step(["a"])
    with pytest.raises(OptionError, match="seed has 3 values"):
        venv.reset(seed=[1, 2, 3])
    with pytest.raises(OptionError, match="num_envs=0"):
        ProfileQAVectorEnv(questions, retriever, num_envs=0)
