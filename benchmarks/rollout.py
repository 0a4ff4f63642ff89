"""`profilegym bench rollout`: rollouts beside TRL's own environment loop, and over an endpoint beside bare clients.

Each part can be measured by itself: `profilegym bench rollout peers memory`.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from random import Random
from statistics import fmean, median
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track
from rich.table import Table

from ..agents.agent import make_agent
from ..agents.models.decoding import PREFILL_TOKENS
from ..agents.models.hf import HFModel
from ..agents.models.model import Model, make_model
from ..agents.rollout import Job, Rollout
from ..envs.chat import Sampling
from ..envs.data import load_questions
from ..envs.question import Profile, Question
from ..envs.retrieval import make_retriever
from ..envs.reward import RewardFunction
from ..envs.trajectory import Segment, Trajectory
from ..errors import OptionError
from ..rewards import make_reward
from . import rollout_barrier, rollout_endpoint
from .measurement import Target, at_least, at_most, no_old_garbage, resident_bytes, show
from .rollout_trl import TURN, TRLLoop

DATA, QUESTIONS, EPISODES = "world:seed=7/test", 128, 256
ROUNDS = 3
EARLY, LATE = 1_000, 10_000  # episodes after which memory is measured
ALONE = 64  # episodes that are played again, one at a time
OBSERVATIONS = (60, 600)  # tokens
TALKS, SAID = 64, 24  # conversations with one observation, and tokens of each of their two turns

Step = TypeVar("Step")
Play = Callable[[int], tuple[int, float]]  # so many episodes: the policy's tokens and the mean score


@contextmanager
def one_thread() -> Iterator[None]:
    """More threads slow down a model of a million weights."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Player:
    """Whole episodes: parsed, searched, scored and recorded."""

    def __init__(self, model: Model, reward: RewardFunction, questions: Sequence[Question]) -> None:
        self._model, self._reward, self._questions = model, reward, questions
        self._retriever, self._agent = make_retriever("bm25"), make_agent("pr2")

    def play(self, count: int) -> tuple[int, float]:
        played = self.trajectories(count)
        scores = [trajectory.reward.total or 0.0 for trajectory in played if trajectory.reward]
        return sum(map(policy_tokens, played)), fmean(scores)

    def trajectories(self, count: int, in_flight: int = 256) -> list[Trajectory]:
        """Round and round the questions, an attempt each time."""
        sampling = Sampling(1.0, max_tokens=TURN)
        rollout = Rollout(self._model, self._retriever, self._reward, sampling, in_flight=in_flight)
        each = len(self._questions)
        jobs = (Job(self._questions[i % each], self._agent, i // each) for i in range(count))

        async def all_of_them() -> list[Trajectory]:
            return [trajectory async for trajectory in rollout.run(jobs)]

        return asyncio.run(all_of_them())


def systems(questions: Sequence[Question]) -> dict[str, Play]:
    """Each with its own copy of the pilot, as TRL changes the model."""
    reward, retriever = make_reward("rubric"), make_retriever("bm25")
    loop = TRLLoop(_pilot(), questions, retriever, reward)
    return {"profilegym": Player(make_model("pilot"), reward, questions).play, "TRL": loop.play}


def _pilot() -> HFModel:
    pilot = make_model("pilot")
    assert isinstance(pilot, HFModel)
    return pilot


def policy_tokens(trajectory: Trajectory) -> int:
    return sum(len(segment.tokens or ()) for segment in trajectory.segments if segment.author == "policy")


@one_thread()
def peers() -> dict[str, Any]:
    """Tokens per second of CPU time in interleaved rounds."""
    rates: dict[str, list[float]] = {}
    scores: dict[str, list[float]] = {}
    playing = systems(_questions())
    rounds = list(product(range(ROUNDS + 1), playing.items()))  # the first warms up
    for number, (name, play) in _tracked(rounds, "peers"):
        with no_old_garbage():
            start = time.process_time()
            tokens, score = play(EPISODES)
            if number:
                rates.setdefault(name, []).append(tokens / (time.process_time() - start))
                scores.setdefault(name, []).append(score)
    return {"rates": rates, "scores": {name: fmean(its) for name, its in scores.items()}}


@one_thread()
def memory() -> dict[str, float]:
    """Megabytes of this process after some episodes, and after many."""
    ours = Player(make_model("pilot"), make_reward("rubric"), _questions())
    sizes = {}
    for played in _tracked(range(EARLY, LATE + 1, EARLY), "memory"):
        ours.trajectories(EARLY)
        if played in (EARLY, LATE):
            sizes[str(played)] = resident_bytes() / 1e6
    return sizes


@one_thread()
def alone() -> dict[str, int]:
    """How many episodes of a batch have the same tokens when played alone."""
    ours = Player(make_model("pilot"), make_reward("rubric"), _questions()[:ALONE])
    among, by_itself = (
        {one.id: _tokens(one) for one in ours.trajectories(ALONE, in_flight)}
        for in_flight in _tracked((ALONE, 1), "alone")
    )
    return {"episodes": len(among), "same": sum(among[name] == tokens for name, tokens in by_itself.items())}


@one_thread()
def reading() -> dict[str, dict[str, float]]:
    """Policy tokens per second with long observations: read in one pass, or token by token."""
    pilot = _pilot()
    ways = {
        name: HFModel(pilot.model, pilot.tokenizer, rows=TALKS, read=read)
        for name, read in (("in one go", PREFILL_TOKENS), ("token by token", 0))
    }
    rates: dict[tuple[int, str], list[float]] = {}
    rounds = list(product(OBSERVATIONS, range(ROUNDS), ways.items()))
    for length, _, (name, model) in _tracked(rounds, "reading"):
        with no_old_garbage():
            start = time.process_time()
            tokens = asyncio.run(_talks(model, length))
            rates.setdefault((length, name), []).append(tokens / (time.process_time() - start))
    return {str(length): {name: median(rates[length, name]) for name in ways} for length in OBSERVATIONS}


async def _talks(model: HFModel, length: int) -> int:
    """Conversations whose turns end at different times."""
    rng = Random(7)

    async def talk(number: int, most: int) -> int:
        prompt, observation = ([rng.randrange(256) for _ in range(size)] for size in (40, length))
        session = model.open(Question("", "", "", Profile("", ())), number)
        said = [Segment("environment", "", prompt)]
        turn = await session.generate(said, Sampling(1.0, max_tokens=most), ())
        said += [Segment("policy", turn.text, turn.tokens), Segment("environment", "", observation)]
        last = await session.generate(said, Sampling(1.0, max_tokens=SAID), ())
        session.close()
        return len(turn.tokens or ()) + len(last.tokens or ())

    return sum(await asyncio.gather(*(talk(i, rng.randint(SAID // 2, 2 * SAID)) for i in range(2 * TALKS))))


PARTS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "memory": memory,  # first, as TRL takes much of it
    "peers": peers,
    "reading": reading,
    "alone": alone,
    "endpoint": lambda: rollout_endpoint.measure(),
    "barrier": lambda: rollout_barrier.measure(),
}


def targets(found: Mapping[str, Any]) -> list[Target]:
    """Of the parts that were measured; a ratio is the median of the ratios of the rounds."""
    kept = []
    if "memory" in found:
        early, late = found["memory"].values()
        kept.append(at_most(f"memory after {LATE:,} episodes over after {EARLY:,}", late / early, 1.05))
    if "peers" in found:
        rates = found["peers"]["rates"]
        ratio = median(a / b for a, b in zip(rates["profilegym"], rates["TRL"], strict=True))
        kept.append(at_least("over TRL", ratio, 2))
    if "alone" in found:
        kept.append(at_least("episodes that are the same when played alone", found["alone"]["same"], ALONE))
    if "endpoint" in found:
        kept += rollout_endpoint.targets(found["endpoint"])
    return kept + rollout_barrier.targets(found["barrier"]) if "barrier" in found else kept


def measure(parts: Sequence[str]) -> dict[str, Any]:
    """All of them if none is named."""
    for name in parts:
        if name not in PARTS:
            raise OptionError(f"bench rollout has no part {name!r}: there are {', '.join(PARTS)}")
    found = {}
    for name, part in PARTS.items():
        if name in parts or not parts:
            found[name] = part()
    return found


def main(as_json: bool, parts: Sequence[str] = ()) -> None:
    found = measure(parts)
    show(found, targets(found), as_json, _report)


def _report(found: Mapping[str, Any], console: Console) -> None:
    for name, result in found.items():
        REPORTS[name](result, console)


def _show_peers(result: dict[str, Any], console: Console) -> None:
    table = Table(title=f"The pilot, {EPISODES} episodes of {DATA}, one thread")
    for title in ("", "policy's tokens/s", "mean score"):
        table.add_column(title, justify="right" if title else "left")
    for name, rates in result["rates"].items():
        table.add_row(name, f"{median(rates):,.0f}", f"{result['scores'][name]:.3f}")
    console.print(table)


def _show_reading(result: dict[str, Any], console: Console) -> None:
    for length, rates in result.items():
        ways = ", ".join(f"{rate:,.0f} {name}" for name, rate in rates.items())
        console.print(f"observations of {length} tokens read, policy's tokens/s: {ways}")


def _show_memory(result: dict[str, float], console: Console) -> None:
    sizes = ", ".join(f"{size:,.0f} MB after {int(count):,}" for count, size in result.items())
    console.print(f"memory: {sizes} episodes")


def _show_alone(result: dict[str, int], console: Console) -> None:
    console.print(f"{result['same']} of {result['episodes']} episodes are the same when played alone")


REPORTS: Mapping[str, Callable[[dict[str, Any], Console], None]] = {
    "memory": _show_memory,
    "peers": _show_peers,
    "reading": _show_reading,
    "alone": _show_alone,
    "endpoint": rollout_endpoint.report,
    "barrier": rollout_barrier.report,
}


def _questions() -> list[Question]:
    return list(load_questions(DATA))[:QUESTIONS]


def _tracked(steps: Sequence[Step], part: str) -> Iterator[Step]:
    """With a progress bar."""
    return iter(track(steps, part, console=Console(stderr=True)))


def _tokens(trajectory: Trajectory) -> list[Sequence[int] | None]:
    return [segment.tokens for segment in trajectory.segments]
