from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from matching import naming

import profilegym as pg
from profilegym.envs.profile_qa_vector import ProfileQAVectorEnv
from profilegym.errors import BudgetSpent, EpisodeError, OptionError

ID = "profilegym/ProfileQA-v0"
TURNS = ["<search>tea</search>", "oops", "<answer>{reference}</answer>"]


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
    """All that a vector gives where every answer is the reference of its place's question."""
    questions = pg.load_questions("world:users=10")
    observations, infos = venv.reset(seed=seed)
    asked = list(infos["question_id"])
    record: list[Any] = [observations, plain(infos)]
    for step in range(steps):
        turns = [TURNS[(step + place) % len(TURNS)] for place in range(venv.num_envs)]
        references = [questions.find(question_id).rubric.reference for question_id in asked]
        actions = tuple(turn.format(reference=reference) for turn, reference in zip(turns, references, strict=True))
        observations, rewards, terminated, truncated, infos = venv.step(actions)
        record += [observations, rewards.tolist(), terminated.tolist(), truncated.tolist(), plain(infos)]
        for place in np.flatnonzero(infos.get("_question_id", [])):
            asked[place] = infos["question_id"][place]
    venv.close()
    return record


def plain(infos: dict[str, Any]) -> dict[str, Any]:
    """Comparable values; a trajectory without its id, which names the place among the seats of one vector."""
    shown: dict[str, Any] = {}
    for name, values in infos.items():
        if isinstance(values, dict):
            shown[name] = plain(values)
        elif name == "trajectory":
            shown[name] = [one and replace(one, id="") for one in values]
        else:
            shown[name] = values.tolist()
    return shown


@pytest.mark.parametrize("autoreset", ["NextStep", "SameStep"])
def test_the_vector_does_what_as_many_single_environments_do(autoreset: str) -> None:
    vector = run(by_names("vector_entry_point", autoreset_mode=autoreset))

    single = run(by_names("sync", vector_kwargs={"autoreset_mode": autoreset}))

    assert vector == single
    assert 1.0 in [reward for rewards in vector[3::5] for reward in rewards]


@pytest.mark.slow
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
    with pytest.raises(EpisodeError, match=naming("[0]", "reset_mask")):
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


class FailsOn:
    """Refuses one query, and with it every batch that holds it; of another it finds nobody's document."""

    def __init__(self, retriever: Any, runs_inline: bool = False) -> None:
        self.retriever, self.runs_inline = retriever, runs_inline

    def search(self, profile: pg.Profile, query: str, k: int) -> list[pg.Hit]:
        return self.search_many([(profile, query)], k)[0]

    def search_many(self, requests: Sequence[tuple[pg.Profile, str]], k: int) -> list[list[pg.Hit]]:
        if any(query == "bad" for _, query in requests):
            raise OSError("no such index")
        stranger = pg.Hit(pg.Document("stranger", "Not yours."), 1.0)
        return [
            [stranger] if query == "stranger" else self.retriever.search(profile, query, k)
            for profile, query in requests
        ]


@pytest.mark.parametrize("runs_inline", [True, False])
@pytest.mark.parametrize(("query", "problem"), [("bad", "OSError: no such index"), ("stranger", "not one of user")])
def test_a_search_that_fails_ends_its_own_episode_alone(
    questions: pg.QuestionList, retriever: Any, length_reward: Any, query: str, problem: str, runs_inline: bool
) -> None:
    failing: Any = FailsOn(retriever, runs_inline)
    venv = ProfileQAVectorEnv(questions, failing, length_reward, num_envs=4, autoreset_mode="Disabled")
    venv.reset(seed=1)

    actions = ["<search>tea</search>", f"<search>{query}</search>", "<answer>milk</answer>", "oops"]
    observations, rewards, terminated, truncated, infos = venv.step(actions)

    assert str(rewards.tolist()) == "[0.0, nan, 4.0, 0.0]"
    assert terminated.tolist() == [False, False, True, False]
    assert truncated.tolist() == [False, True, False, False]
    assert problem in infos["unscored"][1]
    assert infos["_unscored"].tolist() == [False, True, False, False]
    assert [infos["trajectory"][place].ended for place in (1, 2)] == ["error", "answered"]
    assert infos["hits"].tolist() == [
        [hit.document.id for hit in retriever.search(venv.episodes[0].question.profile, "tea", 3)],
        None,
        None,
        None,
    ]
    assert "rooibos" in observations[0]

    venv.reset(options={"reset_mask": np.array([False, True, True, False])})
    assert venv.step(["hm", "hm", "hm", "<answer>x</answer>"])[1].tolist() == [0.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize("autoreset", ["NextStep", "SameStep"])
def test_places_whose_search_failed_begin_anew_by_themselves(
    questions: pg.QuestionList, retriever: Any, autoreset: str
) -> None:
    failing: Any = FailsOn(retriever)
    venv = ProfileQAVectorEnv(questions, failing, num_envs=2, autoreset_mode=autoreset)
    venv.reset(seed=1)

    venv.step(["<search>bad</search>", "<search>bad</search>"])
    venv.step(["hm", "hm"])

    assert [episode.ended for episode in venv.episodes] == [None, None]


def test_a_retriever_that_gives_too_few_lists_fails_no_search_that_it_can_answer_alone(
    questions: pg.QuestionList, retriever: Any
) -> None:
    class TooFew(FailsOn):
        def search_many(self, requests: Sequence[tuple[pg.Profile, str]], k: int) -> list[list[pg.Hit]]:
            return [self.retriever.search(*requests[0], k)]

    venv = ProfileQAVectorEnv(questions, TooFew(retriever), num_envs=3)
    venv.reset(seed=1)

    _, _, _, truncated, infos = venv.step(["<search>tea</search>"] * 3)

    assert not truncated.any()
    assert all(len(hits) == 2 for hits in infos["hits"])


def test_an_answer_whose_reward_fails_is_unscored_alone(questions: pg.QuestionList, retriever: Any) -> None:
    def reward(episodes: Sequence[pg.Episode]) -> list[pg.Reward]:
        if any(episode.answer == "bad" for episode in episodes):
            raise TimeoutError("no judge")
        return [pg.Reward(float("inf") if episode.answer == "vast" else 1.0) for episode in episodes]

    venv = ProfileQAVectorEnv(questions, retriever, reward, num_envs=4)
    venv.reset(seed=1)

    actions = [*(f"<answer>{word}</answer>" for word in ("good", "bad", "vast")), "<search>tea</search>"]
    _, rewards, _, _, infos = venv.step(actions)

    assert str(rewards.tolist()) == "[1.0, nan, nan, 0.0]"
    assert "TimeoutError: no judge" in infos["unscored"][1]
    assert "inf" in infos["unscored"][2]
    assert [episode.ended for episode in venv.episodes] == ["answered", "error", "error", None]
    assert venv.step(["hm"] * 4)[1].tolist() == [0.0] * 4


@pytest.mark.parametrize("of_a_batch", [BudgetSpent, ValueError])
def test_a_judge_whose_budget_is_spent_ends_the_run(
    of_a_batch: type[Exception], questions: pg.QuestionList, retriever: Any
) -> None:
    def spent(episodes: Sequence[pg.Episode]) -> list[pg.Reward]:
        raise of_a_batch("a batch") if len(episodes) > 1 else BudgetSpent("5 dollars")

    venv = ProfileQAVectorEnv(questions, retriever, spent, num_envs=2)
    venv.reset(seed=1)

    with pytest.raises(BudgetSpent):
        venv.step(["<answer>a</answer>"] * 2)

    assert [episode.reward.total for episode in venv.episodes if episode.reward] == [None, None]
    assert venv.reset()[1]["_question_id"].all()


@pytest.mark.parametrize("seed", [None, 0, np.int64(7), [5] * 64, np.arange(64)])
def test_every_episode_of_every_place_has_an_id_of_its_own(
    questions: pg.QuestionList, retriever: Any, seed: Any
) -> None:
    venvs = [ProfileQAVectorEnv(questions, retriever, num_envs=64) for _ in range(2)]
    ids: list[str] = []
    for number, venv in enumerate(venvs):
        other = seed if seed is None else seed + 1 if isinstance(seed, int | np.integer) else [s + 1 for s in seed]
        for drawn in (seed if number == 0 else other, None):
            venv.reset(seed=drawn, options={"question_id": "q0"})
            ids += [episode.id for episode in venv.episodes]

    assert len(set(ids)) == len(ids) == 256


def test_the_same_seed_gives_the_same_ids(questions: pg.QuestionList, retriever: Any) -> None:
    def ids() -> list[str]:
        venv = ProfileQAVectorEnv(questions, retriever, num_envs=3)
        venv.reset(seed=5)
        return [episode.id for episode in venv.episodes]

    assert ids() == ids()


def test_a_misuse_says_what_to_do(questions: pg.QuestionList, retriever: Any) -> None:
    venv = ProfileQAVectorEnv(questions, retriever, num_envs=2)

    with pytest.raises(EpisodeError, match="reset"):
        venv.step(["a", "b"])
    venv.reset(seed=[1, 2])
    with pytest.raises(EpisodeError, match=naming(1, 2)):
        venv.step(["a"])
    with pytest.raises(OptionError, match=naming("seed", 3, 2)):
        venv.reset(seed=[1, 2, 3])
    wrong: list[tuple[Any, str]] = [(-1, "seed=-1"), (0.5, "seed=0.5"), ([1, -1], "seed=-1")]
    for seed, told in wrong:
        with pytest.raises(OptionError, match=naming(told)):
            venv.reset(seed=seed)
    with pytest.raises(OptionError, match="num_envs=0"):
        ProfileQAVectorEnv(questions, retriever, num_envs=0)
