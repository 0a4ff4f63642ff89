"""The rollout worker of TRL's `AsyncGRPOTrainer`: it plays groups all the time, and gives each sample its advantage."""

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from random import Random
from typing import Any

import numpy as np
from trl.experimental.async_grpo.async_rollout_worker import RolloutSample

from ...agents.models.model import Model
from ...agents.models.tool_chat import Tools
from ...envs.data import QuestionSet
from ...envs.reward import RewardFunction
from ...envs.trajectory import Trajectory
from ..processes import EXPECTED
from ..recipe import Recipe
from .group import Member, annotate, check_sampled, check_scored, group_metrics, used_advantages
from .rollouts import Groups, Place, engine, play
from .sequence import Encode, TokenSequence, training_row

Recorded = Callable[[Sequence[Trajectory]], None]
_TICK = 0.1  # seconds between two looks at the queue
_JOIN = 30.0  # seconds for the episodes in flight to be cancelled


class RolloutWorker:
    """Plays episodes in a thread, without a barrier: each episode goes on when its own turn is written.

    A group is pushed when its last member is scored, so that its baseline has entered the advantages. A sample has the
    version of the weights that were live when its group began; TRL drops it where that is too old. `ahead` limits the
    groups that are in flight or wait for the trainer. `order` are the ids of the questions, by default an endless
    series of shuffled epochs; `first` groups of it were played by an earlier run. `recorded` is called with the
    episodes of each group, in the worker's thread. `encode` is given the tools that an episode calls natively.

    Not pushed are samples without a token to learn from (a masked baseline, a failed episode) and unscored ones.
    """

    def __init__(
        self,
        recipe: Recipe,
        questions: QuestionSet,
        model: Model,
        reward: RewardFunction,
        encode: Callable[[Tools | None], Encode],
        recorded: Recorded,
        *,
        ahead: int,
        order: Iterable[str] | None = None,
        first: int = 0,
    ) -> None:
        self.rollout_buffer: queue.Queue[RolloutSample] = queue.Queue()
        self.metrics_queue: queue.Queue[dict[str, float]] = queue.Queue()
        self.model_version = 0
        self.played = deque[Trajectory](
            maxlen=recipe.optimiser.questions * recipe.group.size
        )  # the newest step's worth
        self._recipe, self._model, self._encode, self._recorded = recipe, model, encode, recorded
        self._groups = Groups(recipe, questions)
        self._rollout = engine(recipe, model, reward)
        self._order = order if order is not None else _epochs(questions, recipe.seed, first)
        self._first = first
        self._most = max(1, min(ahead, recipe.generation.in_flight // recipe.group.size))
        self._ahead = max(1, ahead)
        trains_baseline = recipe.train_baseline != "masked"
        self._pushed = recipe.group.size if trains_baseline else recipe.group.personalised  # samples of a whole group
        self._members: list[Member] = []  # of the groups that no metrics were made of yet
        self._used: list[float] = []
        self._error: BaseException | None = None
        self._alive_at = time.monotonic()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def start(self) -> None:
        self._stopping.clear()
        self._alive_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="rollout-worker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the episodes in flight; harmless where it has not been started."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_JOIN)
            self._thread = None

    close = stop

    def update_model_version(self, model_version: int) -> None:
        self.model_version = model_version

    def check_health(self, stale_after_s: float) -> None:
        """Raises the error that ended the worker, or `RuntimeError` where it does not respond."""
        if self._error is not None:
            if isinstance(self._error, EXPECTED):
                raise self._error
            raise RuntimeError(f"the rollout worker failed: {self._error!r}") from self._error
        age = time.monotonic() - self._alive_at
        if age > stale_after_s:
            raise RuntimeError(f"the rollout worker has not responded for {age:.0f} s (limit: {stale_after_s:.0f} s)")

    def _run(self) -> None:
        try:
            asyncio.run(self._work())
        except BaseException as error:
            self._error = error

    async def _work(self) -> None:
        playing: set[asyncio.Task[None]] = set()
        pending = enumerate(self._order, self._first)
        try:
            while not self._stopping.is_set():
                while self._has_room(len(playing)) and (group := next(pending, None)):
                    playing.add(asyncio.create_task(self._play(*group)))
                self._alive_at = time.monotonic()
                if not playing:
                    await asyncio.sleep(_TICK)
                    continue
                done, playing = await asyncio.wait(playing, timeout=_TICK, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in playing:
                task.cancel()
            await asyncio.gather(*playing, return_exceptions=True)
            with suppress(Exception):
                await self._model.close()

    def _has_room(self, playing: int) -> bool:
        waiting = self.rollout_buffer.qsize() / self._pushed
        return playing < self._most and playing + waiting < self._ahead

    async def _play(self, number: int, question_id: str) -> None:
        """Plays one group and pushes its samples."""
        version = self.model_version
        step, place = divmod(number, self._recipe.optimiser.questions)
        size = self._recipe.group.size
        places = [Place(question_id, step, place * size + member) for member in range(size)]
        played = await play(self._rollout, list(self._groups.jobs(places)))
        members = [self._groups.member(trajectory) for trajectory in played]
        used = used_advantages(members, self._recipe)
        annotate(played, used, [[]] * size, members, 0, self._recipe)
        self._recorded(played)
        self.played.extend(played)
        self._note(members, used)
        for trajectory, advantage in zip(played, used, strict=True):
            row = training_row(trajectory, self._encode(trajectory.tools), self._recipe.train_baseline)
            total = trajectory.reward.total if trajectory.reward is not None else None
            if row is not None and total is not None and any(row.mask):
                metrics = {"reward": total}
                self.rollout_buffer.put_nowait(sample_of(trajectory, row, advantage, version, number, metrics))

    def _note(self, members: Sequence[Member], used: Sequence[float]) -> None:
        """The metrics of as many groups as make a step. Raises `RewardError` where most could not be scored."""
        self._members += members
        self._used += used
        if len(self._members) == self._recipe.optimiser.questions * self._recipe.group.size:
            check_scored(self._members)
            check_sampled(self._members)
            self.metrics_queue.put_nowait(group_metrics(self._members, self._used, self._recipe))
            self._members, self._used = [], []


def sample_of(
    trajectory: Trajectory,
    row: TokenSequence,
    advantage: float,
    version: int,
    group: int,
    metrics: dict[str, float],
) -> RolloutSample:
    """An episode as TRL trains on it. A token whose log-probability is unknown is not learned from."""
    known = [logprob is not None for logprob in row.logprobs]
    mask = [own and sure for own, sure in zip(row.mask, known, strict=True)]
    logprobs = [logprob or 0.0 for logprob in row.logprobs]
    context = len(row.prompt)
    return RolloutSample(
        prompt=_messages("user", trajectory.segments[0].text),
        completion=_messages("assistant", "".join(segment.text for segment in trajectory.segments[1:])),
        input_ids=np.array(row.prompt + row.completion),
        completion_mask=np.array([0] * context + [int(own) for own in mask]),
        old_log_probs=np.array([0.0] * context + logprobs, dtype=np.float32),
        advantage=advantage,
        model_version=version,
        group_id=group,
        metrics=metrics,
        enqueued_at=time.time(),
    )


def _messages(role: str, text: str) -> list[dict[str, Any]]:
    return [{"role": role, "content": text}]


def _epochs(questions: QuestionSet, seed: int, skipped: int) -> Iterator[str]:
    """The ids in a new order in each epoch, without end, after the `skipped` first ones."""
    ids = list(questions.ids)
    for epoch in count(skipped // len(ids)):
        shuffled = ids.copy()
        Random(f"{seed}:{epoch}").shuffle(shuffled)
        yield from shuffled[skipped % len(ids) if epoch == skipped // len(ids) else 0 :]
