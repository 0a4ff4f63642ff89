"""`profilegym bench fleet`: workers beside the plain engine, over a distant endpoint, and many of them simulated."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

from rich.console import Console

from ..envs.data import QuestionSet, load_questions
from ..envs.reward import RewardFunction
from ..envs.trajectory import TrajectoryWriter
from ..evaluation.evaluate import Settings, Speed, evaluate
from ..evaluation.run import RunDirectory
from ..fleet.driver import Driver, evaluate_on
from ..fleet.pool import Outcome
from ..fleet.worker import Order, Played, Report, Worker
from .measurement import Target, at_least, at_most, resident_bytes, show
from .server_process import serving

DATA, FAST, SLOW = "world:seed=7,users=20000/test", 1_000, 200  # questions of a run with a script, and over an endpoint
ROUNDS, FEW = 9, 3  # pairs of runs with a script, and over an endpoint: single rates scatter by a sixth
AWAY, NEAR_LIMIT = 0.05, 8  # seconds to the endpoint, and episodes in flight for each worker
ACTORS, SIMULATED = 64, 1_000_000  # episodes


def main(as_json: bool, on: str | None = None) -> None:
    place = on or ("ray" if find_spec("ray") else "local")
    result = measure(place)
    show(result, targets(result), as_json, _report)


def measure(place: str, rounds: tuple[int, int] = (ROUNDS, FEW), simulated: int = SIMULATED) -> dict[str, Any]:
    """Both sides of a pair run in new processes, one after the other; which one is first alternates."""
    settings = Settings(model="scripted:oracle", data=DATA, limit=FAST)
    one, two = (f"{place}:{'workers=' if place == 'ray' else ''}{count}" for count in (1, 2))
    plain, by_one, near, far, cost = (list[float]() for _ in range(5))
    for number in range(rounds[0]):
        if number % 2:
            plain.append(_alone(settings))
        by_one.append(by_workers(one, settings, Speed())[0])
        if not number % 2:
            plain.append(_alone(settings))
    with serving("rollout_server", AWAY) as server:
        asked = Settings(model=f"openai:player,base_url={server.url},api_key=none", data=DATA, limit=SLOW)
        for _ in range(rounds[1]):
            near.append(by_workers(one, asked, Speed(NEAR_LIMIT))[0])
            rate, spent = by_workers(two, asked, Speed(NEAR_LIMIT))
            far.append(rate)
            cost.append(spent)
    return {
        "place": place,
        "plain": median(plain),
        "one_worker": median(by_one),
        "of_plain": _ratios(by_one, plain),
        "endpoint": {"one": median(near), "two": median(far)},
        "two_of_one": _ratios(far, near),
        "driver_ms": 1e3 * median(cost),
        "simulated": simulate(simulated),
    }


def _ratios(these: Sequence[float], those: Sequence[float]) -> list[float]:
    return sorted(a / b for a, b in zip(these, those, strict=True))


def targets(result: dict[str, Any]) -> list[Target]:
    simulated = result["simulated"]
    return [
        at_least("one worker's episodes/s of the plain engine's", median(result["of_plain"]), 0.95),
        at_least("two workers' episodes/s of one's, over an endpoint 50 ms away", median(result["two_of_one"]), 1.8),
        at_most("driver's processor time of an episode, two workers, ms", result["driver_ms"], 2.0),
        at_most(f"driver's processor time of an episode, {ACTORS} simulated workers, ms", simulated["ms"], 2.0),
        at_most("driver's memory at the end, of that after a tenth", simulated["growth"], 1.05),
    ]


class _Clock:
    """Episodes per second between the first report and the last, without starting and summing up."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None
        self._last = 0, 0.0
        self._spent_before = self._spent = time.process_time()

    def tell(self, done: int, count: int, latest: object) -> None:
        if latest is None:
            return
        self._last = done, time.perf_counter()
        self._first = self._first or self._last
        if done == count:
            self._spent = time.process_time()

    @property
    def cost(self) -> float:
        """Processor seconds of this process for an episode."""
        return (self._spent - self._spent_before) / self._last[0]

    @property
    def rate(self) -> float:
        assert self._first is not None
        return (self._last[0] - self._first[0]) / (self._last[1] - self._first[1])


def _alone(settings: Settings) -> float:
    """Episodes per second of the plain engine in a process that has nothing in its caches, as a worker's is."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(plainly, settings).result()


def plainly(settings: Settings) -> float:
    return _timed(lambda run, clock: asyncio.run(evaluate(settings, run, Speed(), clock.tell)))[0]


def by_workers(place: str, settings: Settings, speed: Speed) -> tuple[float, float]:
    return _timed(lambda run, clock: evaluate_on(place, settings, run, speed, clock.tell))


def _timed(play: Callable[[RunDirectory, _Clock], object]) -> tuple[float, float]:
    """Episodes per second, and this process's processor seconds for an episode."""
    clock = _Clock()
    with TemporaryDirectory() as folder:
        play(RunDirectory(Path(folder)), clock)
        return clock.rate, clock.cost


def simulate(episodes: int) -> dict[str, float]:
    """A driver with 64 workers that say at once that their shards are played."""
    settings = Settings(model="scripted:oracle", data=f"world:seed=7,users={episodes // 12 + 1}", limit=episodes // 2)
    questions, early = load_questions(settings.data), list[int]()

    def tell(done: int, count: int, latest: object) -> None:
        if done == episodes // 10:
            early.append(resident_bytes())

    with TemporaryDirectory() as folder, _Simulated(questions) as pool:
        run = RunDirectory(folder)
        with TrajectoryWriter(Path(folder) / "lines") as writer:
            driver = Driver(pool, settings, Speed(), questions, 2, writer, tell)
            start = time.process_time()
            driver.play(run)
            seconds = time.process_time() - start
    late = resident_bytes()
    return {"episodes": episodes, "ms": 1e3 * seconds / episodes, "growth": late / early[0], "bytes": late}


class _Simulated:
    """Workers without processes. Their time is counted as the driver's."""

    size = ACTORS

    def __init__(self, questions: QuestionSet) -> None:
        self._ids = questions.ids
        self._answers = deque[Outcome]()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._answers.clear()

    def share_judge(self, spec: str) -> Callable[[], RewardFunction]:
        raise NotImplementedError

    def start(self, worker: int, kind: type = Worker) -> None:
        """There is nothing to start."""

    def call(self, worker: int, method: str, *arguments: Any) -> None:
        report = Report() if method == "begin" else self._played(*arguments)
        self._answers.append(Outcome(worker, report))

    def wait(self, seconds: float) -> Sequence[Outcome]:
        return [self._answers.popleft()] if self._answers else []

    def _played(self, orders: Sequence[Order], stop: bool) -> Report:
        played = [one for order in orders for one in self._episodes(order)]
        return Report(played, [order.shard.number for order in orders], 0, stop)

    def _episodes(self, order: Order) -> Iterator[Played]:
        for position in order.shard.positions:
            question = self._ids[position]
            for kind, agent in (("baseline", "none"), ("personalised", "pr2")):
                baseline = {"answer": "Rooibos.", "score": 0.5} if kind == "baseline" else None
                name = f"{question}:{agent}:0"
                yield Played(order.shard.number, name, "{}", kind, (question, "0"), 0.5, 100, baseline)


def _report(result: dict[str, Any], console: Console) -> None:
    endpoint = result["endpoint"]
    console.print(f"plain engine: {result['plain']:,.0f} episodes/s; one worker: {result['one_worker']:,.0f}")
    console.print(
        f"over an endpoint 50 ms away: one worker {endpoint['one']:,.0f} episodes/s, two {endpoint['two']:,.0f}"
    )
