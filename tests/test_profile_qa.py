import json
import math
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from conftest import make_question
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st
from matching import naming

import profilegym as pg
from profilegym.envs.data.jsonl import write_jsonl
from profilegym.envs.profile_qa import ProfileQAEnv
from profilegym.envs.reward import no_reward
from profilegym.envs.text import clean_lines
from profilegym.errors import DataError, EpisodeError, OptionError, RetrievalError, RewardError

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


def test_a_loader_may_give_a_plain_list(ask: Callable[..., pg.Question], retriever: Any) -> None:
    loader: Any = lambda name, rest: [ask("q1")]  # noqa: E731
    pg.register_data("a-plain-list", loader)

    env = gym.make(ID, data="a-plain-list:anything", retriever=retriever, reward="none")

    env.reset(seed=1)
    assert env.step("<answer>tea</answer>")[4]["trajectory"].data == "a-plain-list:anything"


def test_an_episode_runs_from_the_question_to_the_trajectory(env: gym.Env[str, str]) -> None:
    observation, info = env.reset(seed=7, options={"question_id": "q2"})
    assert "Question number 2?" in observation
    assert info == {"question_id": "q2", "user_id": "u2"}

    observation, reward, terminated, truncated, info = env.step("<search>tea</search>")
    assert "rooibos" in observation
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert info == {"action": "search", "query": "tea", "hits": ["u2-0", "u2-1"], "malformed": None}

    observation, reward, terminated, truncated, info = env.step("<answer>Rooibos</answer>")
    assert (observation, reward, terminated, truncated) == ("", 7.0, True, False)
    assert info["trajectory"].reward.total == 7.0
    assert info["trajectory"].seed == 7


@pytest.mark.parametrize(
    ("action", "kind", "query", "hits", "problem"),
    [
        ("<search>tea</search>", "search", "tea", ["u0-0", "u0-1"], None),
        ("<search>nothing</search>", "search", "nothing", [], None),
        ("<answer>Rooibos</answer>", "answer", None, None, None),
        ("tea?", "malformed", None, None, "I expected <search>…</search> or <answer>…</answer>."),
    ],
)
def test_the_info_says_what_the_step_was(
    questions: pg.QuestionList, retriever: Any, action: str, kind: str, query: Any, hits: Any, problem: Any
) -> None:
    retriever.hits["nothing"] = []
    env = gym.make(ID, data=questions, retriever=retriever, reward="none")
    env.reset(options={"question_id": "q0"})

    info = env.step(action)[4]

    shown = {"action": kind, "query": query, "hits": hits, "malformed": problem}
    assert {name: info[name] for name in shown} == shown


def test_a_search_that_comes_too_late_found_nothing_and_is_told_as_such(env: gym.Env[str, str]) -> None:
    env.reset(seed=1)

    infos = [env.step(f"<search>{query}</search>")[4] for query in ("tea", "dog", "milk")]

    assert [(info["query"], info["hits"]) for info in infos][1:] == [("dog", []), ("milk", None)]
    assert infos[-1]["trajectory"].ended == "budget"


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


def test_any_kind_of_whole_number_is_a_seed(env: gym.Env[str, str]) -> None:
    assert env.reset(seed=np.int64(3)) == env.reset(seed=3)  # type: ignore[arg-type]

    for seed in (-1, 0.5, "3"):
        with pytest.raises(OptionError, match=f"seed={seed!r}"):
            env.reset(seed=seed)  # type: ignore[arg-type]


def names(env: Any, seed: int | None, episodes: int = 3) -> list[str]:
    env.reset(seed=seed)
    found = [env.unwrapped.episode.id]
    for _ in range(episodes - 1):
        env.reset()
        found.append(env.unwrapped.episode.id)
    return found


def test_no_two_episodes_of_different_seeds_share_an_id(questions: pg.QuestionList, retriever: Any) -> None:
    made = [ProfileQAEnv(pg.QuestionList([questions[0]]), retriever) for _ in range(4)]

    found = [name for seed, env in enumerate(made) for name in names(env, seed)]

    assert len(set(found)) == 12
    assert found[:3] == names(made[3], 0)


@pytest.mark.slow
def test_no_two_episodes_of_environments_without_a_seed_share_an_id_not_even_among_processes() -> None:
    code = (
        "import gymnasium, profilegym; env = gymnasium.make('profilegym/ProfileQA-v0', data='world:users=10'); "
        "[(env.reset(options={'question_id': 'q0-1'}), print(env.unwrapped.episode.id)) for _ in range(3)]"
    ).replace("q0-1", pg.load_questions("world:users=10")[0].id)

    runs = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True) for _ in range(2)]

    assert len({name for run in runs for name in run.stdout.split()}) == 6


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


@pytest.mark.parametrize(
    ("reward", "named"),
    [
        (pg.Reward(math.nan), ("total", math.nan)),
        (pg.Reward(math.inf), ("total", math.inf)),
        (pg.Reward("high"), ("total", "'high'")),  # type: ignore[arg-type]
        (pg.Reward(0.5, {"style": math.nan}), ("'style'", math.nan)),
        (pg.Reward(0.5, verdict=pg.Verdict("mine", math.nan, ())), ("verdict", math.nan)),
    ],
)
def test_a_reward_that_is_no_finite_number_is_an_error(
    questions: pg.QuestionList, retriever: Any, reward: pg.Reward, named: tuple[object, ...]
) -> None:
    env = ProfileQAEnv(questions, retriever, lambda episodes: [reward])
    env.reset(seed=1)

    with pytest.raises(RewardError, match=naming(*named)):
        env.step("<answer>tea</answer>")

    assert json.loads(env.episode.trajectory().to_json())["reward"]["total"] is None


def test_numbers_of_numpy_are_recorded_as_plain_ones(questions: pg.QuestionList, retriever: Any) -> None:
    verdict = pg.Verdict("mine", np.float32(0.5), (pg.AspectMatch("tea", np.int64(1)),))  # type: ignore[arg-type]
    given = pg.Reward(np.float32(0.0), {"score": np.float64(0.25)}, verdict)  # type: ignore[arg-type]
    env = ProfileQAEnv(questions, retriever, lambda episodes: [given])
    env.reset(seed=1)

    *_, info = env.step("<answer>tea</answer>")

    record = json.loads(info["trajectory"].to_json())
    assert record["reward"] == {"total": 0.0, "parts": {"score": 0.25}, "unscored": None}
    assert (record["verdict"]["score"], record["verdict"]["aspects"][0]["match"]) == (0.5, 1)


def test_data_that_changed_are_loaded_again_while_an_old_environment_lives(tmp_path: Path) -> None:
    def make(text: str) -> gym.Env[str, str]:
        write_jsonl([replace(make_question(), text=text)], path)
        return gym.make(ID, data=f"jsonl:{path}", reward="none")

    path = tmp_path / "questions.jsonl"
    first, second = make("What tea?"), make("What coffee then?")

    assert "What coffee then?" in second.reset()[0]
    with pytest.raises(DataError, match="changed"):
        first.reset()


def loaded(question: pg.Question, name: str, rest: str) -> list[pg.Question]:
    return [question]


def test_another_loader_of_the_same_name_is_asked_again(questions: pg.QuestionList) -> None:
    kept = []
    for question in questions[:2]:
        pg.register_data("replaced", partial(loaded, question))
        kept.append(gym.make(ID, data="replaced", reward="none"))

    assert [env.reset()[1]["question_id"] for env in kept] == ["q0", "q1"]


def test_the_environments_of_a_vector_load_their_questions_once(questions: pg.QuestionList) -> None:
    def load(name: str, rest: str) -> pg.QuestionList:
        loads.append(rest)
        return questions

    loads = list[str]()
    pg.register_data("counted", load)

    gym.make_vec(ID, 64, vectorization_mode="sync", data="counted:all", reward="none")

    assert loads == ["all"]


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
        ({"max_serches": 3}, naming("max_serches", "max_searches")),
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
    with pytest.raises(DataError, match=naming("'q99'", "q0")):
        env.reset(options={"question_id": "q99"})
    with pytest.raises(OptionError, match=naming("'question'", "question_id")):
        env.reset(options={"question": "q1"})
    with pytest.raises(OptionError, match=naming("reset_mask", "question_id")):
        env.reset(options={"reset_mask": [True]})
    with pytest.raises(DataError):
        ProfileQAEnv(pg.QuestionList([]), retriever)


@given(
    st.sampled_from(["<", "a < b ", "\n", "\n\t<", "é", "\x07"]),
    st.integers(1, 62_000),
    st.integers(1, 1_200),
    st.integers(20, 60),
)
def test_no_observation_leaves_the_space(unit: str, times: int, top_k: int, hit_chars: int) -> None:
    documents = tuple(pg.Document(f"d{i}", "<" * 30) for i in range(1_200))
    question = pg.Question("q", "u", unit * times, pg.Profile("u", documents))
    retriever: Any = EveryDocument()
    env = ProfileQAEnv(pg.QuestionList([question]), retriever, top_k=top_k, hit_chars=hit_chars)

    too_long = suppress(DataError) if len(clean_lines(question.text)) > 60_000 else nullcontext()

    with too_long:
        seen = [
            env.reset()[0],
            *(env.step(action)[0] for action in ("<search>a</search>", "oops", "<answer>b</answer>")),
        ]
        assert all(observation in env.observation_space for observation in seen)


class EveryDocument:
    def search(self, profile: pg.Profile, query: str, k: int) -> list[pg.Hit]:
        return [pg.Hit(document, 1.0) for document in profile.documents][:k]


def without_phrases(question: pg.Question) -> pg.Question:
    aspects = tuple(replace(aspect, accepted=()) for aspect in question.rubric.aspects)
    return replace(question, rubric=replace(question.rubric, aspects=aspects))


def test_data_that_the_rubric_cannot_score_are_refused_when_the_environment_is_made(
    questions: pg.QuestionList, retriever: Any
) -> None:
    bare = [without_phrases(question) for question in questions]

    with pytest.raises(RewardError, match=naming("rubric", 5, "score:openai:MODEL")):
        gym.make(ID, data=bare, retriever=retriever)
    with pytest.raises(RewardError, match=naming("rubric", 5, "score:openai:MODEL")):
        gym.make_vec(ID, 2, vectorization_mode="vector_entry_point", data=bare, retriever=retriever)
    with pytest.raises(DataError):
        gym.make(ID, data=[], retriever=retriever)


def test_a_question_that_the_rubric_cannot_score_is_unscored_with_a_reason(
    questions: pg.QuestionList, retriever: Any
) -> None:
    mixed = [without_phrases(questions[0]), questions[1]]
    env = gym.make_vec(ID, 2, vectorization_mode="vector_entry_point", data=mixed, retriever=retriever, reward="rubric")
    env.reset(options={"question_id": ["q0", "q1"]})

    _, rewards, terminated, _, infos = env.step(["<answer>CANARY-ACCEPTED</answer>"] * 2)

    assert str(rewards.tolist()) == "[nan, 1.0]"
    assert terminated.tolist() == [True, True]
    assert "'q0'" in infos["unscored"][0]
    assert infos["_unscored"].tolist() == [True, False]
