"""Rollouts of the pilot beside TRL's own environment loop, and of a model behind an endpoint beside bare clients."""

import asyncio
import gc
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from statistics import fmean, median
from typing import Any

from rich.console import Console
from rich.table import Table

from ..agents.agent import make_agent
from ..agents.models.decoding import READ
from ..agents.models.hf import HFModel
from ..agents.models.model import Model, make_model
from ..agents.rollout import Job, Rollout
from ..envs.completion import Sampling
from ..envs.data import load_questions
from ..envs.question import Profile, Question
from ..envs.retrieval import make_retriever
from ..envs.stepping import RewardFunction
from ..envs.trajectory import Segment, Trajectory
from ..rewards import make_reward
from . import in_flight
from .claims import Claim, at_least, at_most, show_claims
from .trl_loop import Loop

DATA, QUESTIONS, ATTEMPTS = "world:seed=7/test", 128, 2
ROUNDS = 5
EARLY, LATE = 1_000, 10_000  # episodes after which memory is looked at
ALONE = 64  # episodes that are played once more, each by itself
OBSERVATIONS = (60, 600)  # tokens
TALKS, TURN = 64, 24  # conversations with one observation, and tokens of each of their two turns

Play = Callable[[], tuple[int, float]]  # all episodes: the policy's tokens and the mean score


class Ours:
    """Whole episodes: parsed, searched, scored and recorded."""

    def __init__(self, model: Model, reward: RewardFunction, questions: Sequence[Question]) -> None:
        self._model, self._reward, self._questions = model, reward, questions
        self._retriever, self._agent = make_retriever("bm25"), make_agent("pr2")

    def play(self) -> tuple[int, float]:
        played = self.trajectories(len(self._questions) * ATTEMPTS)
        scores = [trajectory.reward.total or 0.0 for trajectory in played if trajectory.reward]
        return sum(map(policy_tokens, played)), fmean(scores)

    def trajectories(self, count: int, in_flight: int = 256) -> list[Trajectory]:
        """Round and round the questions, an attempt each time."""
        rollout = Rollout(self._model, self._retriever, self._reward, in_flight=in_flight)
        each = len(self._questions)
        jobs = (Job(self._questions[i % each], self._agent, i // each) for i in range(count))

        async def all_of_them() -> list[Trajectory]:
            return [trajectory async for trajectory in rollout.run(jobs)]

        return asyncio.run(all_of_them())


def contenders(questions: Sequence[Question]) -> dict[str, Play]:
    """Each with a pilot of its own, as TRL's is changed."""
    reward, retriever = make_reward("rubric"), make_retriever("bm25")
    loop = Loop(make_model("pilot"), questions, retriever, reward)
    return {
        "profilegym": Ours(make_model("pilot"), reward, questions).play,
        "profilegym, 64 rows": Ours(make_model("pilot:rows=64"), reward, questions).play,
        "TRL": lambda: loop.play(ATTEMPTS, at_once=256),
        "TRL, 64 at once": lambda: loop.play(ATTEMPTS, at_once=64),
    }


def policy_tokens(trajectory: Trajectory) -> int:
    return sum(len(segment.tokens or ()) for segment in trajectory.segments if segment.author == "policy")


def tokens_a_second(questions: Sequence[Question]) -> tuple[dict[str, list[float]], dict[str, float]]:
    """By interleaved rounds, by the process's own clock, as other programs run beside it; and the mean scores."""
    rates: dict[str, list[float]] = {}
    scores: dict[str, list[float]] = {}
    playing = contenders(questions)
    for play in playing.values():
        play()  # until memory is taken and profiles are indexed
    for _ in range(ROUNDS):
        for name, play in playing.items():
            with undisturbed():
                start = time.process_time()
                tokens, score = play()
                rates.setdefault(name, []).append(tokens / (time.process_time() - start))
            scores.setdefault(name, []).append(score)
    return rates, {name: fmean(its) for name, its in scores.items()}


def memory(questions: Sequence[Question]) -> dict[str, float]:
    """Megabytes of this process after some episodes, and after many."""
    ours = Ours(make_model("pilot"), make_reward("rubric"), questions)
    sizes = {}
    played = 0
    for until in (EARLY, LATE):
        while played < until:
            played += len(ours.trajectories(min(EARLY, until - played)))
        sizes[str(until)] = _resident() / 1e6
    return sizes


def alone(questions: Sequence[Question]) -> int:
    """Of episodes that were played among others, those with the same tokens when played alone."""
    ours = Ours(make_model("pilot"), make_reward("rubric"), questions[:ALONE])
    among = {trajectory.id: _tokens(trajectory) for trajectory in ours.trajectories(ALONE)}
    by_itself = ours.trajectories(ALONE, in_flight=1)
    return sum(_tokens(trajectory) == among[trajectory.id] for trajectory in by_itself)


def reading() -> dict[int, dict[str, float]]:
    """The policy's tokens a second where observations are so long: read in one go, or token by token."""
    pilot = make_model("pilot")
    ways = {
        name: HFModel(pilot.model, pilot.tokenizer, rows=TALKS, read=read)
        for name, read in (("in one go", READ), ("token by token", 0))
    }
    rates: dict[int, dict[str, float]] = {}
    for length in OBSERVATIONS:
        rounds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, model in ways.items():
                with undisturbed():
                    start = time.process_time()
                    tokens = asyncio.run(_talks(model, length))
                    rounds[name].append(tokens / (time.process_time() - start))
        rates[length] = {name: median(its) for name, its in rounds.items()}
    return rates


async def _talks(model: HFModel, length: int) -> int:
    """Conversations whose turns end at different times."""
    luck = Random(7)

    async def talk(number: int, most: int) -> int:
        prompt, observation = ([luck.randrange(256) for _ in range(size)] for size in (40, length))
        session = model.open(Question("", "", "", Profile("", ())), number)
        said = [Segment("environment", "", prompt)]
        turn = await session.speak(said, Sampling(1.0, max_tokens=most), ())
        said += [Segment("policy", turn.text, turn.tokens), Segment("environment", "", observation)]
        last = await session.speak(said, Sampling(1.0, max_tokens=TURN), ())
        session.close()
        return len(turn.tokens or ()) + len(last.tokens or ())

    return sum(await asyncio.gather(*(talk(i, luck.randint(TURN // 2, 2 * TURN)) for i in range(2 * TALKS))))


@contextmanager
def undisturbed() -> Iterator[None]:
    """What was there before is not to be collected now."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def one_thread() -> Iterator[None]:
    """More slow a model of a million weights down."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def claims(rates: dict[str, list[float]], sizes: dict[str, float]) -> list[Claim]:
    """What must hold; the ratio is the median of the rounds' own."""
    theirs = max((name for name in rates if name.startswith("TRL")), key=lambda name: median(rates[name]))
    ratio = median(a / b for a, b in zip(rates["profilegym"], rates[theirs], strict=True))
    early, late = sizes.values()
    return [
        at_least(f"over {theirs}", ratio, 2),
        at_most(f"memory after {LATE:,} over after {EARLY:,}", late / early, 1.05),
    ]


def measure() -> tuple[dict[str, Any], list[Claim]]:
    questions = list(load_questions(DATA))[:QUESTIONS]
    with one_thread():
        sizes = memory(questions)  # first, as TRL takes much of it
        rates, scores = tokens_a_second(questions)
        result = {
            "tokens_a_second": {name: median(its) for name, its in rates.items()},
            "scores": scores,
            "reading": reading(),
            "same_alone": alone(questions),
            "megabytes": sizes,
        }
    return result, claims(rates, sizes)


def main(as_json: bool) -> None:
    result, claimed = measure()
    endpoint = in_flight.measure()
    if as_json:
        local = {**result, "claims": [claim.as_json() for claim in claimed]}
        print(json.dumps({"local": local, "endpoint": endpoint}, indent=2))
    else:
        console = Console()
        report(result, console)
        show_claims(claimed, console)
        in_flight.report(endpoint, console)


def report(result: dict[str, Any], console: Console) -> None:
    table = Table(title=f"The pilot, {QUESTIONS * ATTEMPTS} episodes of {DATA}, one thread")
    for title in ("", "policy's tokens/s", "mean score"):
        table.add_column(title, justify="right" if title else "left")
    for name, rate in result["tokens_a_second"].items():
        table.add_row(name, f"{rate:,.0f}", f"{result['scores'][name]:.3f}")
    console.print(table)
    for length, rates in result["reading"].items():
        ways = ", ".join(f"{rate:,.0f} {name}" for name, rate in rates.items())
        console.print(f"observations of {length} tokens read: {ways}")
    console.print(f"{result['same_alone']} of {ALONE} episodes are the same when played alone")
    sizes = ", ".join(f"{size:,.0f} MB after {int(count):,}" for count, size in result["megabytes"].items())
    console.print(f"memory: {sizes} episodes")


def _tokens(trajectory: Trajectory) -> list[Sequence[int] | None]:
    return [segment.tokens for segment in trajectory.segments]


def _resident() -> int:
    """Bytes of this process in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
