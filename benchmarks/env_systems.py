"""The systems that `bench env` compares. Each plays a batch of n open episodes, step by step, to their end.

An episode is two searches in a dictionary and one answer: three steps, a scripted policy, no model and no tokens.
"""

import json
import re
from collections.abc import Callable, Generator, Sequence
from typing import Any

from ..envs.data import QuestionList
from ..envs.episode import Episode
from ..envs.profile_qa import ProfileQAEnv
from ..envs.profile_qa_vector import ProfileQAVectorEnv
from ..envs.question import Document, Profile, Question
from ..envs.retrieval import Hit
from ..envs.reward import Reward
from ..envs.tools import make_tools

CALLS = tuple(
    json.dumps({"name": name, "arguments": arguments})
    for name, arguments in (
        ("search_profile", {"query": "k3"}),
        ("search_profile", {"query": "k7"}),
        ("answer", {"text": "blue"}),
    )
)
ACTIONS = ("<search>k3</search>", "<search>k7</search>", "<answer>blue</answer>")
GOLD = "blue"
STEPS = len(ACTIONS)
SEARCH = re.compile(r"<search>(.*?)</search>", re.DOTALL)
ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)

DOCUMENTS = {f"k{i}": Document(f"k{i}", f"doc {i} " + "lorem ipsum dolor sit amet " * 12) for i in range(200)}
QUESTION = Question("q", "u", "What colour does the user like?", Profile("u", tuple(DOCUMENTS.values())))
HITS = {key: [Hit(document, 1.0)] for key, document in DOCUMENTS.items()}

Batch = Callable[[], None]  # plays as many episodes as it was made for


class DictionaryRetriever:
    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        return HITS.get(query, [])

    def search_many(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[list[Hit]]:
        return [HITS.get(query, []) for _, query in requests]


def exact_match(episodes: Sequence[Episode]) -> list[Reward]:
    return [Reward(float(episode.answer == GOLD)) for episode in episodes]


def plain_generator(n: int) -> Batch:
    """The upper limit: two regular expressions and a list; no checks, no records, no budget."""

    def episode() -> Generator[str, str, float]:
        observation = QUESTION.text
        history = [observation]
        while True:
            action = yield observation
            observation, done, reward = bare_logic(action)
            history += [action, observation]
            if done:
                return reward

    def batch() -> None:
        generators = [episode() for _ in range(n)]
        for generator in generators:
            next(generator)
        for action in ACTIONS[:-1]:
            for generator in generators:
                generator.send(action)
        for generator in generators:
            try:
                generator.send(ACTIONS[-1])
            except StopIteration as end:
                assert end.value == 1.0

    return batch


def bare_gymnasium(n: int) -> Batch:
    """A bare `gymnasium.Env` without wrappers, checks, records or budget."""
    import gymnasium

    class Bare(gymnasium.Env[str, str]):
        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[str, dict[str, Any]]:
            super().reset(seed=seed)
            self.history = [QUESTION.text]
            return QUESTION.text, {}

        def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
            observation, done, reward = bare_logic(action)
            self.history += [action, observation]
            return observation, reward, done, False, {}

    return one_by_one([Bare() for _ in range(n)])


def profilegym_episodes(n: int) -> Batch:
    """Checks, records and budget included; every episode ends as a trajectory."""
    return _episodes(n, ACTIONS)


def one_tool(n: int) -> Batch:
    """Native calls of the search tool alone."""
    return _episodes(n, CALLS, protocol="tools")


def four_tools(n: int) -> Batch:
    """The same calls, with more tools to choose from."""
    return _episodes(n, CALLS, protocol="tools", tools=make_tools("search_profile+read_around+latest+answer"))


def _episodes(n: int, actions: Sequence[str], **options: Any) -> Batch:
    def batch() -> None:
        episodes = [Episode(QUESTION, **options) for _ in range(n)]
        for action in actions:
            for episode in episodes:
                episode.write(action)
                if episode.needs == "search":
                    episode.add_hits(HITS[episode.query])
                elif episode.needs == "score":
                    episode.score(Reward(float(episode.answer == GOLD)))
        trajectories = [episode.trajectory() for episode in episodes]
        assert trajectories[-1].reward == Reward(1.0)

    return batch


def profilegym_environments(n: int) -> Batch:
    questions, retriever = QuestionList([QUESTION]), DictionaryRetriever()
    return one_by_one([ProfileQAEnv(questions, retriever, exact_match) for _ in range(n)])


def profilegym_vector(n: int) -> Batch:
    venv = ProfileQAVectorEnv(
        QuestionList([QUESTION]), DictionaryRetriever(), exact_match, num_envs=n, autoreset_mode="SameStep"
    )
    return vector(venv, n)


def gem(n: int) -> Batch:
    """With its tool and observation wrappers, without checks or budget."""
    return one_by_one([_gem_environment() for _ in range(n)])


def gem_vector(n: int) -> Batch:
    from gem.vector.sync_vector_env import SyncVectorEnv

    return vector(SyncVectorEnv(["x"] * n, [_gem_environment] * n), n)


def skyrl_gym(n: int) -> Batch:
    """One environment object per episode."""
    import skyrl_gym
    from skyrl_gym.envs.base_text_env import BaseTextEnv, BaseTextEnvStepOutput
    from skyrl_gym.tools.core import ToolGroup, tool

    class Search(ToolGroup):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__("Search")

        @tool  # type: ignore[untyped-decorator]
        def search(self, query: str) -> str:
            return DOCUMENTS[query].text

    class Bare(BaseTextEnv):  # type: ignore[misc]
        def __init__(self, env_config: Any = None, extras: Any = None) -> None:
            super().__init__()
            self.max_turns = STEPS + 1
            self.init_tool_groups([Search()])
            self.history: list[Any] = []

        def step(self, action: str) -> Any:
            self.turns += 1
            answer = ANSWER.search(action)
            if answer or self.turns >= self.max_turns:
                right = answer is not None and answer[1].strip() == GOLD
                return BaseTextEnvStepOutput(observations=[], reward=float(right), done=True, metadata={})
            query = SEARCH.search(action)
            assert query is not None
            found = self._execute_tool("Search", "search", [query[1].strip()])
            observation = {"role": "user", "content": f"<information>{found}</information>"}
            self.history += [action, observation]
            return BaseTextEnvStepOutput(observations=[observation], reward=0.0, done=False, metadata={})

    if "profilegym-bench" not in skyrl_gym.registry:
        skyrl_gym.register(id="profilegym-bench", entry_point=Bare)

    def batch() -> None:
        environments = [skyrl_gym.make("profilegym-bench", env_config=None, extras={}) for _ in range(n)]
        for environment in environments:
            environment.init([{"role": "user", "content": QUESTION.text}])
        for action in ACTIONS:
            for environment in environments:
                output = environment.step(action)
        assert output["reward"] == 1.0

    return batch


def bare_logic(action: str) -> tuple[str, bool, float]:
    query = SEARCH.search(action)
    if query:
        return f"<information>{DOCUMENTS[query[1].strip()].text}</information>", False, 0.0
    answer = ANSWER.search(action)
    assert answer
    return "", True, float(answer[1].strip() == GOLD)


def one_by_one(environments: Sequence[Any]) -> Batch:
    def batch() -> None:
        for environment in environments:
            environment.reset()
        for action in ACTIONS:
            for environment in environments:
                outcome = environment.step(action)
        assert outcome[1] == 1.0

    return batch


def vector(venv: Any, n: int) -> Batch:
    venv.reset()

    def batch() -> None:
        for action in ACTIONS:
            outcome = venv.step([action] * n)  # the last step begins the next episodes
        assert outcome[1][0] == 1.0

    return batch


def _gem_environment() -> Any:
    from gem.core import Env
    from gem.tools.base_tool import BaseTool
    from gem.tools.tool_env_wrapper import ToolEnvWrapper
    from gem.wrappers.observation_wrapper import ObservationWrapper

    class Tool(BaseTool):  # type: ignore[misc]
        tool_type = "search"

        def instruction_string(self) -> str:
            return ""

        def execute_action(self, action: str) -> tuple[bool, bool, str, str]:
            query = SEARCH.search(action)
            if query is None:
                return False, True, "", ""
            return True, False, bare_logic(action)[0], action[: query.end()]

    class Bare(Env):  # type: ignore[misc]
        def reset(self, seed: int | None = None) -> tuple[str, dict[str, Any]]:
            super().reset(seed)
            return QUESTION.text, {}

        def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
            observation, done, reward = bare_logic(action)
            return observation, reward, done, False, {}

    wrapped = ToolEnvWrapper(Bare(), tools=[Tool()])
    return ObservationWrapper(wrapped, include_action=True, include_chat_template=False)


SYSTEMS: dict[str, Callable[[int], Batch]] = {
    "plain generator (the limit)": plain_generator,
    "gymnasium.Env, bare": bare_gymnasium,
    "profilegym Episode": profilegym_episodes,
    "profilegym Episode, one tool": one_tool,
    "profilegym Episode, four tools": four_tools,
    "profilegym environment": profilegym_environments,
    "profilegym vector": profilegym_vector,
    "gem": gem,
    "gem vector": gem_vector,
    "skyrl-gym": skyrl_gym,
}
