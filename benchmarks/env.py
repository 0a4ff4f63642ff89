"""What a step costs: our episodes and environments beside others, in one interleaved run.

An episode is two searches in a dictionary and one answer: three steps, a scripted policy, no model and no tokens.
"""

import gc
import json
import re
import statistics
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from ..envs.data import QuestionList
from ..envs.episode import Episode
from ..envs.profile_qa import ProfileQAEnv
from ..envs.profile_qa_vector import ProfileQAVectorEnv
from ..envs.question import Document, Profile, Question
from ..envs.retrieval import Hit, make_retriever
from ..envs.reward import Reward
from .corpus import make_corpus

SIZES = (1, 64, 1024)
ROUNDS, SECONDS = 7, 0.15  # of each contender at each size
STEPS = 3
ACTIONS = ("<search>k3</search>", "<search>k7</search>", "<answer>blue</answer>")
GOLD = "blue"

DOCUMENTS = {f"k{i}": Document(f"k{i}", f"doc {i} " + "lorem ipsum dolor sit amet " * 12) for i in range(200)}
QUESTION = Question("q", "u", "What colour does the user like?", Profile("u", tuple(DOCUMENTS.values())))
HITS = {key: [Hit(document, 1.0)] for key, document in DOCUMENTS.items()}

Batch = Callable[[], None]  # runs as many episodes as it was made for, from their start to their end


class DictionaryRetriever:
    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        return HITS.get(query, [])

    def search_many(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[list[Hit]]:
        return [HITS.get(query, []) for _, query in requests]


def exact_match(episodes: Sequence[Episode]) -> list[Reward]:
    return [Reward(float(episode.answer == GOLD)) for episode in episodes]


# The contenders. Each makes a batch of n live episodes that are stepped in turn.


def plain_generator(n: int) -> Batch:
    """The limit: nothing but two regular expressions and a list; no checks, no records, no budget."""

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
    """A bare `gymnasium.Env` without wrappers: again no checks, no records, no budget."""
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


def our_episodes(n: int) -> Batch:
    """Checks, records and budget included; every episode ends as a trajectory."""

    def batch() -> None:
        episodes = [Episode(QUESTION) for _ in range(n)]
        for action in ACTIONS:
            for episode in episodes:
                episode.write(action)
                if episode.needs == "search":
                    episode.inform(HITS[episode.query])
                elif episode.needs == "score":
                    episode.score(Reward(float(episode.answer == GOLD)))
        trajectories = [episode.trajectory() for episode in episodes]
        assert trajectories[-1].reward == Reward(1.0)

    return batch


def our_environments(n: int) -> Batch:
    questions, retriever = QuestionList([QUESTION]), DictionaryRetriever()
    return one_by_one([ProfileQAEnv(questions, retriever, exact_match) for _ in range(n)])


def our_vector(n: int) -> Batch:
    venv = ProfileQAVectorEnv(
        QuestionList([QUESTION]), DictionaryRetriever(), exact_match, num_envs=n, autoreset_mode="SameStep"
    )
    return vector(venv, n)


def gem(n: int) -> Batch:
    """Its tool and observation wrappers: no checks, no budget."""
    return one_by_one([_gem_environment() for _ in range(n)])


def gem_vector(n: int) -> Batch:
    from gem.vector.sync_vector_env import SyncVectorEnv

    return vector(SyncVectorEnv(["x"] * n, [_gem_environment] * n), n)


def skyrl_gym(n: int) -> Batch:
    """One environment object an episode."""
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


CONTENDERS: dict[str, Callable[[int], Batch]] = {
    "plain generator (the limit)": plain_generator,
    "gymnasium.Env, bare": bare_gymnasium,
    "profilegym Episode": our_episodes,
    "profilegym environment": our_environments,
    "profilegym vector": our_vector,
    "gem": gem,
    "gem vector": gem_vector,
    "skyrl-gym": skyrl_gym,
}

SEARCH = re.compile(r"<search>(.*?)</search>", re.DOTALL)
ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


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


# Measuring.


def steps_a_second() -> tuple[dict[str, dict[int, float]], dict[str, str]]:
    """Medians over interleaved rounds, and who could not take part and why."""
    rates: dict[str, dict[int, float]] = {}
    absent: dict[str, str] = {}
    for n in SIZES:
        batches = {}
        for name, contender in CONTENDERS.items():
            try:
                batches[name] = contender(n)
                batches[name]()
            except ImportError as error:
                absent[name] = f"not installed ({error})"
        samples: dict[str, list[float]] = {name: [] for name in batches}
        for _ in range(ROUNDS):
            for name, batch in batches.items():
                samples[name].append(_rate(batch) * n * STEPS)
        for name, values in samples.items():
            rates.setdefault(name, {})[n] = statistics.median(values)
    return rates, absent


def with_bm25(users: int = 20, size: int = 200, rounds: int = 5) -> dict[str, float]:
    """Search steps of episodes over real profiles, as a share of what the searches alone allow."""
    corpus = make_corpus(users, size, 10)
    profiles = [
        Profile(f"u{u}", tuple(Document(f"d{i}", " ".join(words)) for i, words in enumerate(written)))
        for u, written in enumerate(corpus.users)
    ]
    asked = [(profiles[user], " ".join(words)) for user, words in corpus.queries]
    questions = {profile.user_id: Question(profile.user_id, profile.user_id, "?", profile) for profile in profiles}
    retriever = make_retriever("bm25")
    depth = Episode(questions["u0"]).depth

    def bare() -> None:
        for profile, query in asked:
            retriever.search(profile, query, depth)

    def episodes() -> None:
        for profile, query in asked:
            episode = Episode(questions[profile.user_id])
            episode.write(f"<search>{query}</search>")
            episode.inform(retriever.search(profile, episode.query, depth))

    bare()
    pairs = [(_rate(bare), _rate(episodes)) for _ in range(rounds)]
    return {
        "searches_a_second": statistics.median(bare for bare, _ in pairs) * len(asked),
        "search_steps_a_second": statistics.median(steps for _, steps in pairs) * len(asked),
        "share": statistics.median(steps / bare for bare, steps in pairs),
    }


def _rate(batch: Batch) -> float:
    """Batches a second. What was there before (modules, another contender's rubbish) is not this one's to collect."""
    gc.collect()
    gc.freeze()
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < SECONDS:
        batch()
        count += 1
    gc.unfreeze()
    return count / elapsed


def claims(rates: dict[str, dict[int, float]], bm25: dict[str, float]) -> list[dict[str, Any]]:
    """What must hold, each with its value and its bound."""
    episodes, vectors = rates["profilegym Episode"], rates["profilegym vector"]
    rows: list[tuple[str, float, float]] = [(f"episode steps/s at {n}", episodes[n], 220_000) for n in SIZES]
    rows += [(f"vector steps/s at {n}", vectors[n], 200_000) for n in (64, 1024)]
    rows += [("episodes at 1,024 over at 1", episodes[1024] / episodes[1], 0.8)]
    rows += [("search steps with bm25 over bare searches", bm25["share"], 0.7)]
    for peer, ours in (("gem", episodes), ("skyrl-gym", episodes), ("gem vector", vectors)):
        if peer in rates:
            rows += [(f"over {peer} at {n}", ours[n] / rates[peer][n], 1.0) for n in (64, 1024)]
    return [{"name": name, "value": value, "at_least": bound, "holds": value >= bound} for name, value, bound in rows]


def main(as_json: bool) -> None:
    rates, absent = steps_a_second()
    bm25 = with_bm25()
    result = {"steps_a_second": rates, "absent": absent, "bm25": bm25, "claims": claims(rates, bm25)}
    if as_json:
        print(json.dumps(result, indent=2))
    else:
        _report(result)


def _report(result: dict[str, Any]) -> None:
    console = Console()
    limit = result["steps_a_second"]["plain generator (the limit)"]
    table = Table(title="Steps a second with a dictionary retriever (and the share of the limit)")
    table.add_column("")
    for n in SIZES:
        table.add_column(f"{n:,} episodes", justify="right")
    for name, rates in result["steps_a_second"].items():
        table.add_row(name, *(f"{rates[n]:,.0f} ({rates[n] / limit[n]:.2f})" for n in SIZES))
    console.print(table)
    for name, why in result["absent"].items():
        console.print(f"{name}: {why}", style="dim")
    bm25 = result["bm25"]
    console.print(
        f"bm25 over 200 documents: {bm25['search_steps_a_second']:,.0f} search steps/s, "
        f"{bm25['share']:.0%} of the {bm25['searches_a_second']:,.0f} searches/s alone"
    )
    for claim in result["claims"]:
        mark = "[green]✓[/]" if claim["holds"] else "[red]✗[/]"
        console.print(f"{mark} {claim['name']}: {claim['value']:,.2f} (at least {claim['at_least']:,})")
