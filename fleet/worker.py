"""A worker of a fleet: today's rollout engine with a model of its own, which plays the shards that it is given."""

import asyncio
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from .._util.sync import run_sync
from ..agents.agent import make_agent
from ..agents.models.model import Model, make_model
from ..agents.rollout import Job, JobFeed
from ..envs.data import load_questions
from ..envs.reward import RewardFunction
from ..envs.trajectory import Trajectory
from ..evaluation.evaluate import Settings, Speed, as_baseline, jobs_of, players_of, rollout_of
from ..evaluation.summary import Place, place_of, score_of
from .shards import Shard

POLL = 0.5  # seconds that a report waits for something to report
GATHER = 0.02  # seconds to wait for more, so that fast episodes are reported together
PASSED_ON = ("OPENAI_", "VLLM_", "HF_", "PROFILEGYM_")  # environment variables that workers get
_OF_ENDPOINTS = ("OPENAI_", "VLLM_", "HF_TOKEN")
_LIMITS = re.compile(r"(?<=,)(requests_per_minute|tokens_per_minute|budget)=([^,]+)")
Baseline = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where the driver runs."""

    folder: str  # where relative paths in specs start
    environment: Mapping[str, str]  # keys and addresses of endpoints

    @classmethod
    def of_driver(cls) -> Self:
        return cls(os.getcwd(), {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)})

    def enter(self) -> None:
        """Works in the driver's folder where this machine has it, with the driver's keys in place of its own."""
        if Path(self.folder).is_dir():
            os.chdir(self.folder)
        for name, value in self.environment.items():
            if name.startswith(_OF_ENDPOINTS):
                os.environ[name] = value
            else:
                os.environ.setdefault(name, value)  # a path may be another here


@dataclass(frozen=True)
class Task:
    """What a worker has to know before its first shard. Specs are turned into objects by the worker."""

    settings: Settings
    speed: Speed
    surroundings: Surroundings
    workers: int  # of the fleet
    reward: Callable[[], RewardFunction] | None = None  # makes the reward; by default, the settings' own


@dataclass(frozen=True, slots=True)
class Order:
    """A shard to play, without the episodes in `done`. `baselines` are those of episodes that are not done."""

    shard: Shard
    done: frozenset[str] = frozenset()
    baselines: Mapping[Place, Baseline] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Played:
    """A finished episode: the line of the run directory, and what the driver needs of it."""

    shard: int
    id: str
    line: str
    kind: str
    place: Place
    score: float | None
    tokens: int
    baseline: Baseline | None  # what the personalised episode records of this one


@dataclass(frozen=True, slots=True)
class Report:
    """What happened since the last report. `error`: class and message of what ended the worker's play."""

    played: Sequence[Played] = ()
    finished: Sequence[int] = ()  # numbers of shards
    queued: int = 0  # episodes that are not begun
    ended: bool = False
    error: tuple[str, str] | None = None


class Worker:
    """Its methods are called one at a time. Between them, it goes on playing."""

    def ready(self) -> None:
        """Returns once the worker is placed."""

    def begin(self, task: Task) -> Report:
        """Loads data, agent and model."""
        try:
            run_sync(self._begin(task))
        except Exception as error:
            return Report(ended=True, error=described(error))
        return Report()

    def exchange(self, orders: Sequence[Order], stop: bool = False) -> Report:
        """Takes shards, and reports what has ended. `stop`: no episode is begun any more."""
        try:
            return run_sync(self._exchange(orders, stop))
        except Exception as error:
            return Report(ended=True, error=described(error))

    async def _begin(self, task: Task) -> None:
        task.surroundings.enter()
        self._settings = task.settings
        self._questions = load_questions(task.settings.data)
        agent = make_agent(task.settings.agent)
        self._players = players_of(agent)
        reward = task.reward() if task.reward else None
        self._model: Model = make_model(share(task.settings.model, task.workers))
        self._rollout = rollout_of(task.settings, task.speed, self._model, agent, reward)
        self._feed = JobFeed()
        self._shard_of: dict[str, int] = {}  # by episode
        self._left: dict[int, int] = {}  # episodes of each shard
        self._personalised: dict[Place, Job] = {}  # until their baselines have ended
        self._baselines: dict[Place, Baseline] = {}  # until their personalised episodes have ended
        self._played, self._finished = list[Played](), list[int]()
        self._error: tuple[str, str] | None = None
        self._news = asyncio.Event()
        self._playing = asyncio.create_task(self._play())

    async def _exchange(self, orders: Sequence[Order], stop: bool) -> Report:
        for order in orders:
            self._accept(order)
        if stop:
            self._feed.close()
        try:
            async with asyncio.timeout(POLL):
                await self._news.wait()
        except TimeoutError:
            return Report(queued=len(self._feed))
        await asyncio.sleep(GATHER)
        self._news.clear()
        played, self._played = self._played, []
        finished, self._finished = self._finished, []
        return Report(played, finished, len(self._feed), self._playing.done(), self._error)

    async def _play(self) -> None:
        try:
            async for trajectory in self._rollout.run(self._feed):
                self._note(trajectory)
            await self._model.close()
        except Exception as error:
            self._error = described(error)
        finally:
            asyncio.get_running_loop().call_soon(self._news.set)  # once this task is done

    def _accept(self, order: Order) -> None:
        """A personalised episode is played once its baseline has ended, so that it is recorded with it."""
        number, left = order.shard.number, 0
        for jobs in zip(*(self._jobs(player, order.shard) for player in self._players), strict=True):
            missing = [job for job in jobs if job.id not in order.done]
            for job in missing:
                self._shard_of[job.id] = number
            left += len(missing)
            place = _place(jobs[0])
            if len(missing) == 2:
                self._personalised[place] = missing[1]
            elif missing and len(jobs) == 2:
                self._baselines[place] = order.baselines.get(place, {})
            self._feed.put(missing[:1])
        self._left[number] = left
        if not left:
            self._finish(number)

    def _jobs(self, player: Any, shard: Shard) -> Any:
        return jobs_of(self._settings, self._questions, player, shard.positions)

    def _note(self, trajectory: Trajectory) -> None:
        place, baseline = place_of(trajectory), None
        if trajectory.kind == "baseline":
            baseline = as_baseline(trajectory)
            if place in self._personalised:
                self._baselines[place] = baseline
                self._feed.put([self._personalised.pop(place)], urgent=True)
        else:
            trajectory.baseline = self._baselines.pop(place, None) or None
        number = self._shard_of.pop(trajectory.id)
        line = trajectory.to_json()
        self._played.append(
            Played(
                number, trajectory.id, line, trajectory.kind, place, score_of(trajectory), _tokens(trajectory), baseline
            )
        )
        self._left[number] -= 1
        if not self._left[number]:
            self._finish(number)
        self._news.set()

    def _finish(self, number: int) -> None:
        del self._left[number]
        self._finished.append(number)
        self._news.set()


def share(spec: str, workers: int) -> str:
    """The spec of one worker's model: rates and budget of an endpoint are divided among all workers."""
    return _LIMITS.sub(lambda found: f"{found[1]}={_part(found[2], workers)}", spec)


def _part(number: str, workers: int) -> str:
    try:
        return repr(float(number) / workers)
    except ValueError:  # which the model will tell
        return number


def _place(job: Job) -> Place:
    return job.question.id, str(job.attempt)


def _tokens(trajectory: Trajectory) -> int:
    usage = trajectory.usage or {}
    return (usage.get("prompt_tokens") or 0) + (usage.get("completion_tokens") or 0)


def described(error: Exception) -> tuple[str, str]:
    return type(error).__name__, str(error)
