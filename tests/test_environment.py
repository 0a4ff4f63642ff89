import math
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env

import profilegym as pg
from profilegym.envs.errors import DataError, EpisodeError, OptionError, RetrievalError, RewardError
from profilegym.envs.profile_qa import ProfileQAEnv
from profilegym.envs.stepping import no_reward

ID = "profilegym/ProfileQA-v0"


@pytest.fixture
def env(questions: pg.QuestionList, retriever: Any, length_reward: Any) -> gym.Env[str, str]:
    return gym.make(ID, data=questions, retriever=retriever, reward=length_reward, max_searches=2)


@pytest.mark.parametrize("options", [{}, {"max_searches": 1}, {"protocol": "tools"}, {"repeat_hits": True}])
def test_the_environment_passes_gymnasiums_checker_without_a_warning(
    questions: pg.QuestionList, retriever: Any, length_reward: Any, options: dict[str, Any]
) -> None:
    env = gym.make(ID, data=questions, retriever=retriever, reward=length_reward, render_mode="ansi", **options)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)


def test_it_is_made_by_names_alone() -> None:
    env = gym.make(ID, data="world:users=10", retriever="bm25", reward="rubric", top_k=3, max_searches=4)

    _, info = env.reset(seed=7)
    question = pg.load_questions("world:users=10").find(info["question_id"])
    _, reward, terminated, truncated, info = env.step(f"<answer>{question.rubric.reference}</answer>")

    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["trajectory"].data == "world:users=10"


def test_an_episode_runs_from_the_question_to_the_trajectory(env: gym.Env[str, str]) -> None:
    observation, info = env.reset(seed=7, options={"question_id": "q2"})
    assert "Question number 2?" in observation
    assert info == {"question_id": "q2", "user_id": "u2"}

    observation, reward, terminated, truncated, info = env.step("<search>tea</search>")
    assert "rooibos" in observation
    assert (reward, terminated, truncated, info) == (0.0, False, False, {})

    observation, reward, terminated, truncated, info = env.step("<answer>Rooibos</answer>")
    assert (observation, reward, terminated, truncated) == ("", 7.0, True, False)
    assert info["trajectory"].reward.total == 7.0
    assert info["trajectory"].seed == 7


def test_an_episode_without_an_answer_is_truncated(env: gym.Env[str, str]) -> None:
    env.reset(seed=1)

    outcomes = [env.step("hm")[1:4] for _ in range(3)]

    assert outcomes == [(0.0, False, False), (0.0, False, False), (0.0, False, True)]


def test_the_same_seed_gives_the_same_episodes(env: gym.Env[str, str]) -> None:
    def run() -> list[Any]:
        drawn = [env.reset(seed=3)[1]] + [env.reset()[1] for _ in range(5)]
        return [*drawn, env.step("<answer>x</answer>")[4]["trajectory"]]

    assert run() == run()
    assert len({info["question_id"] for info in run()[:-1]}) > 1


def test_nothing_hidden_is_seen_before_the_end(
    questions: pg.QuestionList, retriever: Any, hidden_in: Callable[[object], list[str]]
) -> None:
    env = gym.make(ID, data=questions, retriever=retriever, reward="none", render_mode="ansi")

    seen: list[Any] = [env.reset(seed=1), env.render()]
    for action in ("<search>tea</search>", "oops", "<search>dog</search>"):
        seen += [env.step(action), env.render()]

    assert not hidden_in(seen)


def test_without_a_reward_function_the_reward_is_0_and_the_record_says_unscored(
    questions: pg.QuestionList, retriever: Any
) -> None:
    env = gym.make(ID, data=questions, retriever=retriever, reward="none")
    env.reset(seed=1)

    _, reward, _, _, info = env.step("<answer>tea</answer>")

    assert reward == 0.0
    assert info["trajectory"].reward.total is None
    assert pg.make_reward("none") is no_reward


def test_a_reward_that_cannot_be_had_is_no_number_and_says_why(questions: pg.QuestionList, retriever: Any) -> None:
    env = ProfileQAEnv(questions, retriever, lambda episodes: [pg.Reward(None, unscored="the judge is asleep")])
    env.reset(seed=1)

    _, reward, terminated, _, info = env.step("<answer>tea</answer>")

    assert math.isnan(reward)
    assert terminated
    assert info["unscored"] == "the judge is asleep"


def test_a_broken_retriever_is_an_error_and_never_a_score(questions: pg.QuestionList, length_reward: Any) -> None:
    class Broken:
        def search(self, *_: object) -> Any:
            raise OSError("no such index")

    env = ProfileQAEnv(questions, Broken(), length_reward)  # type: ignore[arg-type]
    env.reset(seed=1)

    with pytest.raises(RetrievalError, match="OSError: no such index"):
        env.step("<search>tea</search>")

    trajectory = env.episode.trajectory()
    assert (trajectory.ended, trajectory.reward.total) == ("error", None)  # type: ignore[union-attr]
    assert "no such index" in str(trajectory.error)


@pytest.mark.parametrize("total", [float("nan"), float("inf")])
def test_a_reward_that_is_no_finite_number_is_an_error(
    questions: pg.QuestionList, retriever: Any, total: float
) -> None:
    env = ProfileQAEnv(questions, retriever, lambda episodes: [pg.Reward(total)])
    env.reset(seed=1)

    with pytest.raises(RewardError, match="the reward of episode"):
        env.step("<answer>tea</answer>")


def test_a_rendered_transcript_cannot_drive_the_terminal(questions: pg.QuestionList, retriever: Any) -> None:
    env = gym.make(ID, data=questions, retriever=retriever, reward="none", render_mode="ansi")
    env.reset(seed=1)
    env.step("<think>\x1b[31mred\x07</think><answer>tea\u202e</answer>")

    text = str(env.render())

    assert "── policy ──" in text
    assert not {"\x1b", "\x07", "\u202e"} & set(text)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"top_k": 0}, "top_k=0"),
        ({"max_searches": -1}, "max_searches=-1"),
        ({"protocol": "xml"}, "protocol='xml'"),
        ({"kind": "other"}, "kind='other'"),
        ({"max_serches": 3}, "did you mean 'max_searches'"),
        ({"render_mode": "human"}, "render_mode='human'"),
    ],
)
def test_an_option_that_cannot_work_is_refused(
    questions: pg.QuestionList, retriever: Any, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(OptionError, match=problem):
        ProfileQAEnv(questions, retriever, **options)


def test_a_misuse_says_what_to_do(questions: pg.QuestionList, retriever: Any) -> None:
    env = ProfileQAEnv(questions, retriever)

    with pytest.raises(EpisodeError, match="reset"):
        env.step("<answer>tea</answer>")
    with pytest.raises(DataError, match="no question 'q99'"):
        env.reset(options={"question_id": "q99"})
    with pytest.raises(OptionError, match="question_id"):
        env.reset(options={"question": "q1"})
    with pytest.raises(DataError, match="holds no question"):
        ProfileQAEnv(pg.QuestionList([]), retriever)
