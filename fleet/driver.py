"""The driver of a fleet: gives shards to workers, writes what they played, and replaces workers that die."""

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from .. import errors
from ..agents.agent import make_agent
from ..envs.data import QuestionSet, load_questions
from ..envs.trajectory import TrajectoryWriter
from ..errors import BudgetSpent, FleetError, MissingExtra, ProfileGymError
from ..evaluation.evaluate import Settings, Speed, as_baseline, players_of, sum_up
from ..evaluation.run import RunDirectory
from ..evaluation.summary import Place, place_of
from .pool import Outcome, Pool, make_pool
from .shards import Shard, split
from .worker import Baseline, Order, Played, Report, Surroundings, Task

Progress = Callable[[int, int, Played | None], None]  # episodes done, total, and the latest
MOST_DEATHS = 3  # of a worker while no worker played an episode: what kills it may be its node alone
AHEAD = 0.2  # seconds of play that a worker has in its queue
_WAIT = 0.5  # seconds
log = logging.getLogger(__name__)


def evaluate_on(
    place: str, settings: Settings, run: RunDirectory, speed: Speed, progress: Progress | None = None
) -> dict[str, Any]:
    """Plays the missing episodes on the workers of a place, and writes the summary, as `evaluate` does here."""
    questions = load_questions(settings.data)
    players = len(players_of(make_agent(settings.agent)))
    with run.writing_episodes(asdict(settings)):
        with make_pool(place) as pool, run.writer() as writer:
            Driver(pool, settings, speed, questions, players, writer, progress).play(run)
        return sum_up(run)


@dataclass
class _Progress:
    """What is recorded of a shard. Kept until it is finished."""

    done: set[str] = field(default_factory=set)
    baselines: dict[Place, Baseline] = field(default_factory=dict)


@dataclass
class _Hand:
    """A worker, as the driver sees it."""

    number: int
    shards: set[int] = field(default_factory=set)
    rate: float = 0.0  # episodes per second
    reported: float = 0.0
    deaths: int = 0  # since any worker's last episode
    begun: bool = False
    ended: bool = False


class Driver:
    """Gives out shards until all are finished. What it keeps grows with open shards, not with episodes."""

    def __init__(
        self,
        pool: Pool,
        settings: Settings,
        speed: Speed,
        questions: QuestionSet,
        players: int,
        writer: TrajectoryWriter,
        progress: Progress | None = None,
    ) -> None:
        self._pool, self._settings, self._speed, self._writer = pool, settings, speed, writer
        positions = range(min(len(questions), settings.limit or len(questions)))
        shards = split(map(questions.user_of, positions), pool.size)
        self._questions, self._per_question = questions, players * settings.seeds
        self._shards = {shard.number: shard for shard in shards}
        self._waiting = deque(shards)
        self._waiting_episodes = self._count = len(positions) * self._per_question
        self._progress: dict[int, _Progress] = {}
        self._hands = [_Hand(number) for number in range(pool.size)]
        self._done = 0
        self._stopped_by: ProfileGymError | None = None
        self._tell = progress or (lambda *_: None)

    def play(self, run: RunDirectory) -> None:
        self._read(run)
        self._tell(self._done, self._count, None)
        if self._done == self._count:
            return
        for hand in self._hands:
            self._start(hand)
        while not all(hand.ended for hand in self._hands):
            for outcome in self._pool.wait(_WAIT):
                self._take(outcome)
        if self._stopped_by:
            raise self._stopped_by

    def _read(self, run: RunDirectory) -> None:
        """What an earlier driver recorded."""
        shard_of: dict[str, int] = {}
        for trajectory in run.finished():
            if not shard_of:
                ids = self._questions.ids
                shard_of = {ids[at]: shard.number for shard in self._shards.values() for at in shard.positions}
            number = shard_of.get(trajectory.question_id)
            if number is None:  # the data set has changed: it has no such question, which is an error, or elsewhere
                self._questions.find(trajectory.question_id)
                continue
            recorded = self._progress_of(number)
            recorded.done.add(trajectory.id)
            self._done += 1
            if trajectory.kind == "baseline":
                recorded.baselines[place_of(trajectory)] = as_baseline(trajectory)
        whole = {n for n, recorded in self._progress.items() if len(recorded.done) == self._episodes(self._shards[n])}
        self._waiting = deque(shard for shard in self._waiting if shard.number not in whole)
        for number in whole:
            self._forget(number)
        self._waiting_episodes = self._count - self._done

    def _start(self, hand: _Hand) -> None:
        hand.begun, hand.rate = False, 0.0
        self._pool.start(hand.number)
        self._pool.call(hand.number, "begin", self._task())

    def _task(self) -> Task:
        judge, reward = self._settings.judge, None
        if judge is not None and judge.partition(",")[0] != "rubric":  # it costs nothing and has no limits
            reward = self._pool.share_judge(judge)
        return Task(self._settings, self._speed, Surroundings.of_driver(), self._pool.size, reward)

    def _take(self, outcome: Outcome) -> None:
        hand = self._hands[outcome.worker]
        if outcome.report is None:
            self._replace(hand, str(outcome.died))
            return
        report: Report = outcome.report
        self._record(hand, report)
        if report.error is not None:
            self._stop(error_of(*report.error))
        if report.ended:
            hand.ended = True
            return
        hand.begun = True
        orders = self._orders(hand, report.queued)
        over = self._stopped_by is not None or not self._shards
        self._pool.call(hand.number, "exchange", orders, over)

    def _stop(self, error: ProfileGymError) -> None:
        """A spent budget lets open episodes end, as they are paid for; any other error ends the run at once."""
        if not isinstance(error, BudgetSpent):
            raise error
        self._stopped_by = self._stopped_by or error

    def _record(self, hand: _Hand, report: Report) -> None:
        for played in report.played:
            recorded = self._progress_of(played.shard)
            if played.id not in recorded.done:
                recorded.done.add(played.id)
                self._writer.append(played.line)
                self._done += 1
                if played.baseline is not None:
                    recorded.baselines[played.place] = played.baseline
                self._tell(self._done, self._count, played)
        for number in report.finished:
            hand.shards.discard(number)
            self._forget(number)
        now = time.monotonic()
        if report.played:
            for other in self._hands:
                other.deaths = 0
            if hand.reported:
                latest = len(report.played) / max(1e-3, now - hand.reported)
                hand.rate = (hand.rate + latest) / 2 if hand.rate else latest
        if report.played or not hand.reported:
            hand.reported = now

    def _orders(self, hand: _Hand, queued: int) -> list[Order]:
        """Enough to keep the worker busy, but near the end no more than its share of what is left."""
        orders: list[Order] = []
        wanted = max(self._speed.in_flight, int(AHEAD * hand.rate)) - queued
        share = self._waiting_episodes // (2 * len(self._hands))
        given, most = 0, min(wanted, max(1, share))
        while self._waiting and given < most and not self._stopped_by:
            shard = self._waiting.popleft()
            recorded = self._progress_of(shard.number)
            orders.append(Order(shard, frozenset(recorded.done), dict(recorded.baselines)))
            hand.shards.add(shard.number)
            missing = self._episodes(shard) - len(recorded.done)
            given += missing
            self._waiting_episodes -= missing
        return orders

    def _replace(self, hand: _Hand, reason: str) -> None:
        """Starts the worker again; what it had not finished is waiting again."""
        hand.deaths += 1
        if hand.deaths >= MOST_DEATHS:
            raise FleetError(f"worker {hand.number} died {hand.deaths} times while no episode was played: {reason}")
        log.warning("worker %d is started again, it died: %s", hand.number, reason)
        for number in sorted(hand.shards, reverse=True):
            shard = self._shards[number]
            self._waiting.appendleft(shard)
            self._waiting_episodes += self._episodes(shard) - len(self._progress_of(number).done)
        hand.shards.clear()
        if self._shards and not self._stopped_by:
            self._start(hand)
        else:
            hand.ended = True

    def _episodes(self, shard: Shard) -> int:
        return len(shard.positions) * self._per_question

    def _progress_of(self, number: int) -> _Progress:
        return self._progress.setdefault(number, _Progress())

    def _forget(self, number: int) -> None:
        self._shards.pop(number, None)
        self._progress.pop(number, None)


def error_of(kind: str, message: str) -> ProfileGymError:
    """The error of a worker, here."""
    known = getattr(errors, kind, None)
    if isinstance(known, type) and issubclass(known, ProfileGymError) and known is not MissingExtra:
        return known(message)
    return FleetError(f"a worker failed: {kind}: {message}")
