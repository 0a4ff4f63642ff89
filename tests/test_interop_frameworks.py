"""What the files of `interop` add beyond the episode that test_interop.py plays in every framework."""

import asyncio
import inspect
import pickle
from collections.abc import Sequence
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import RecordEpisodeStatistics
from matching import naming

import profilegym as pg
from profilegym import Episode, QuestionList, Reward, TrajectoryReader, load_questions
from profilegym.envs.tools import Tool, Toolset
from profilegym.envs.tools.json_schema import arguments_of
from profilegym.errors import EpisodeError, OptionError, RewardError
from profilegym.interop.estimators import require_own
from profilegym.interop.gymnasium import ChatMessages, Recording, TurnCost, Unscored
from profilegym.interop.trl import environment_factory, reward_func

DATA = "world:users=20/test"
SEARCH = "<search>food</search>"
ANSWER = "<answer>I do not know.</answer>"


def make(**options: Any) -> Any:
    return gym.make("profilegym/ProfileQA-v0", data=DATA, **options)


def play(env: Any, *turns: str) -> list[Any]:
    env.reset(seed=7)
    return [env.step(turn) for turn in turns]


def dead(episodes: Sequence[Episode]) -> list[Reward]:
    raise RewardError("the judge does not answer")


def test_observations_can_be_chat_messages() -> None:
    env = ChatMessages(make())

    first, _ = env.reset(seed=7)
    found, *_ = env.step(SEARCH)

    assert [message["role"] for message in first] == ["user"]
    assert [message["role"] for message in found] == ["user", "assistant", "user"]
    assert found[1]["content"] == SEARCH


def test_a_turn_can_have_a_cost() -> None:
    rewards = [step[1] for step in play(TurnCost(make(), 0.25), SEARCH, SEARCH, ANSWER)]

    assert rewards == [-0.25, -0.25, 0.0]
    with pytest.raises(OptionError, match=naming(-1)):
        TurnCost(make(), -1)


def test_finished_episodes_can_be_recorded_in_a_file(tmp_path: Path) -> None:
    env = Recording(make(), tmp_path / "trajectories.jsonl")

    play(env, SEARCH, ANSWER)
    play(env, SEARCH)
    env.close()

    (record,) = TrajectoryReader(tmp_path / "trajectories.jsonl")
    assert record.answer == "I do not know."


def test_statistics_of_episodes_survive_one_that_could_not_be_scored() -> None:
    scored = iter([True, False, True])

    def reward(episodes: Sequence[Episode]) -> list[Reward]:
        return [Reward(0.5)] if next(scored) else dead(episodes)

    env = RecordEpisodeStatistics(Unscored(make(reward=reward)))
    ended = [play(env, ANSWER)[0] for _ in range(3)]

    assert isnan(ended[1][1])
    assert "the judge does not answer" in ended[1][4]["unscored"]
    assert np.nanmean(env.return_queue) == 0.5
    assert len(env.return_queue) == 3


def test_the_tools_of_a_trl_environment_are_methods_with_types_and_docstrings() -> None:
    environment = environment_factory(DATA, tools="search_profile+latest")()

    methods = {name for name, _ in inspect.getmembers(type(environment), inspect.isfunction) if name[0] != "_"}
    assert methods == {"reset", "get_reward", "search_profile", "latest", "answer"}
    signature = inspect.signature(environment.latest)
    assert signature.parameters["n"].annotation is int
    assert inspect.signature(environment.answer).parameters["text"].default is inspect.Parameter.empty
    assert "Args:" in str(inspect.getdoc(environment.search_profile))


def test_the_tools_of_a_trl_environment_fit_every_question() -> None:
    """The profile of the second question has dates, that of the first has none."""
    made = load_questions(DATA)[0]
    documents = tuple(replace(document, date=None) for document in made.profile.documents)
    undated = replace(made, id="undated", profile=replace(made.profile, documents=documents))
    for questions in ([undated, made], [made, undated]):
        environment = environment_factory(QuestionList(questions), tools="search_profile+latest")()
        parameters = inspect.signature(environment.search_profile).parameters

        assert "after" in parameters or "before" in parameters
        assert parameters["query"].default is inspect.Parameter.empty
        environment.reset(question_id="undated")
        assert "<information>" in environment.search_profile(query="food")


def test_a_trl_environment_plays_its_rows_and_corrects_wrong_arguments() -> None:
    factory = environment_factory(DATA)
    environment, row = factory(), factory.questions()[0]

    prompt = environment.reset(**row)
    corrected = environment.search_profile(words="food")
    found = environment.search_profile(query="food")
    over = environment.answer(text="I do not know.")

    assert factory._driver().questions.find(row["question_id"]).text in prompt
    assert "'query'" in corrected
    assert "<information>" in found
    assert environment.answer(text="Again.") == over


def test_the_factory_of_trl_environments_can_be_sent_to_another_process() -> None:
    copy = pickle.loads(pickle.dumps(environment_factory(DATA)))

    assert copy().reset(**copy.questions()[0])


def test_a_trl_environment_wants_a_reset_first() -> None:
    with pytest.raises(EpisodeError, match=naming("reset")):
        environment_factory(DATA)().answer(text="Soup.")


def scored(reward: Any, completion: Any) -> float | None:
    function = reward_func(reward, DATA)
    asked = {"completions": [completion], "question_id": [pg.load_questions(DATA)[0].id]}

    async def ask() -> list[float | None]:
        return await function(**asked)

    return asyncio.run(ask())[0]


def test_a_reward_of_this_package_scores_the_completions_of_trl() -> None:
    aspects = pg.load_questions(DATA)[0].rubric.aspects
    right = "; ".join(aspect.accepted[0] for aspect in aspects)

    assert scored("rubric", right) == 1.0
    assert scored("rubric", f"<think>Hm.</think><answer>{right}</answer>") == 1.0
    assert scored("rubric", [{"role": "assistant", "content": right}]) == 1.0
    assert scored("rubric", "I do not know.") == 0.0
    searched = f"<search>tea</search><information>\n1. tea\n</information>\n<answer>{right}</answer>"
    assert scored("rubric", searched) == 1.0
    assert scored("rubric", f"<think>No </search> here.</think><answer>{right}</answer>") == 1.0
    assert scored("rubric", [{"role": "assistant", "content": [{"type": "text", "text": right}]}]) == 1.0
    called = [{"role": "assistant", "content": "", "tool_calls": []}, {"role": "tool", "content": right}]
    assert scored("rubric", called) == 0.0
    assert scored(dead, right) is None


def test_arguments_of_trl_have_the_types_of_their_schema_and_names_of_python() -> None:
    def find(profile: pg.Profile, ids: list[int]) -> str:
        """Find."""
        return f"{sum(ids)} of it"

    environment = environment_factory(DATA, tools=Toolset([Tool.of(find)]))()
    environment.reset(question_id=pg.load_questions(DATA)[0].id)
    assert environment.find.__annotations__["ids"] == list[int]
    assert "3 of it" in environment.find(ids=[1, 2])

    odd = arguments_of("find", {"type": "object", "properties": {"from": {"type": "string"}}})
    tools = Toolset([Tool("find", "Find.", odd, lambda profile, **_: "")])
    with pytest.raises(OptionError, match=naming("find", "'from'")):
        environment_factory(DATA, tools=tools)()


def test_a_group_of_nothing_but_controls_is_an_error() -> None:
    require_own(2, 1, "rollout.n")
    with pytest.raises(OptionError, match=naming("rollout.n=1")):
        require_own(1, 1, "rollout.n")


def test_the_frameworks_are_there_by_name() -> None:
    assert pg.trl.environment_factory is environment_factory
