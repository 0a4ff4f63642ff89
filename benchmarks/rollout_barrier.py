"""Part `barrier` of `profilegym bench rollout`: episodes against a vLLM server whose turns take different times.

Without a barrier each episode goes on when its own turn is written. Round by round, all waiting turns are asked
together, and none goes on before the last of them is written. The server is a fake one that waits.
"""

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from hashlib import blake2b
from itertools import product
from math import exp
from random import Random
from typing import Any

from rich.console import Console
from rich.progress import track

from ..agents.agent import make_agent
from ..agents.models.model import Model, Session, Turn
from ..agents.models.vllm import VLLMModel
from ..agents.models.vllm_servers import Servers
from ..agents.rollout import Job, Rollout
from ..envs.chat import Sampling
from ..envs.data import load_questions
from ..envs.question import Question
from ..envs.retrieval import make_retriever
from ..envs.trajectory import Segment, Trajectory
from ..testing.fake_server import Body
from ..testing.vllm_server import ByteTokenizer, VLLMServer
from .measurement import Target, at_least

EPISODES, ROUNDS = 64, 3
MEDIAN, SPREAD = 0.2, 1.0  # seconds of a turn, and the deviation of their logarithm
SEARCHES = (0, 1, 2, 3)
DATA = "world:seed=7,users=50/test"
_IDLE = 10  # iterations of the event loop in which an episode searches and asks for its next turn


class InRounds:
    """A model whose waiting turns are asked together, round after round."""

    def __init__(self, model: Model) -> None:
        self.name, self._model = model.name, model
        self._waiting: list[tuple[Callable[[], Any], asyncio.Future[Turn]]] = []
        self._task: asyncio.Task[None] | None = None

    def open(self, question: Question, seed: int | None) -> "_Waiting":
        return _Waiting(self, self._model.open(question, seed))

    async def close(self) -> None:
        await self._model.close()

    async def turn(self, ask: Callable[[], Any]) -> Turn:
        future: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        self._waiting.append((ask, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._rounds())
        return await future

    async def _rounds(self) -> None:
        while self._waiting:
            before = 0
            while before < len(self._waiting):
                before = len(self._waiting)
                for _ in range(_IDLE):
                    await asyncio.sleep(0)
            asked, self._waiting = self._waiting, []
            turns = await asyncio.gather(*(ask() for ask, _ in asked))
            for (_, future), turn in zip(asked, turns, strict=True):
                future.set_result(turn)
            await asyncio.sleep(0)


class _Waiting:
    def __init__(self, rounds: InRounds, session: Session) -> None:
        self._rounds, self._session = rounds, session

    async def generate(self, segments: Sequence[Segment], sampling: Sampling, stop: Sequence[str]) -> Turn:
        return await self._rounds.turn(lambda: self._session.generate(segments, sampling, stop))

    def close(self) -> None:
        self._session.close()


def policy(prompt: str, model: str) -> str:
    """Searches a number of times that follows from the question, then answers."""
    question = prompt.partition("<information>")[0]
    searches = SEARCHES[_number(question.encode()) % len(SEARCHES)]
    if prompt.count("<information>") - question.count("<information>") < searches:
        return "<think>I look.</think><search>my plans</search>"
    return "<think>I know.</think><answer>Yes.</answer>"


def latency(body: Body) -> float:
    """Follows from the prompt alone, so it is the same in both forms."""
    return MEDIAN * exp(SPREAD * Random(_number(bytes(body["prompt"]))).gauss(0, 1))


def _number(text: bytes) -> int:
    return int.from_bytes(blake2b(text, digest_size=6).digest())


def seconds(server: VLLMServer, in_rounds: bool) -> float:
    """The time of all episodes, in flight together."""
    return asyncio.run(_seconds(server, in_rounds))


async def _seconds(server: VLLMServer, in_rounds: bool) -> float:
    model: Model = VLLMModel(Servers([server.base]), name="vllm", tokenizer=ByteTokenizer())
    questions = load_questions(DATA)
    agent = make_agent("pr2")
    jobs = [Job(questions[number % len(questions)], agent, number) for number in range(EPISODES)]
    asked = InRounds(model) if in_rounds else model
    rollout = Rollout(asked, make_retriever("bm25"), sampling=Sampling(1.0), in_flight=EPISODES)
    start = time.perf_counter()
    played: list[Trajectory] = [trajectory async for trajectory in rollout.run(jobs)]
    taken = time.perf_counter() - start
    await model.close()
    failed = [trajectory.error for trajectory in played if trajectory.ended != "answered"]
    if failed:
        raise RuntimeError(f"{len(failed)} of {EPISODES} episodes failed: {failed[0]}")
    return taken


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    found: dict[str, list[float]] = {"without a barrier": [], "round by round": []}
    with VLLMServer(policy, latency=latency) as server:
        seconds(server, False)  # imports the client
        turns = list(product(range(rounds), found))
        for _, name in track(turns, "barrier", console=Console(stderr=True)):
            found[name].append(seconds(server, name == "round by round"))
    pairs = zip(found["round by round"], found["without a barrier"], strict=True)
    return {
        "episodes": EPISODES,
        "episodes_a_second": {name: EPISODES / statistics.median(times) for name, times in found.items()},
        "ratio": statistics.median(slow / fast for slow, fast in pairs),
    }


def targets(result: dict[str, Any]) -> list[Target]:
    return [at_least("without a barrier over round by round", result["ratio"], 1.5)]


def report(result: dict[str, Any], console: Console) -> None:
    rates = ", ".join(f"{rate:.1f} {name}" for name, rate in result["episodes_a_second"].items())
    console.print(f"episodes/s, {EPISODES} in flight, turns of {MEDIAN:g} s (log-normal, {SPREAD:g}): {rates}")
