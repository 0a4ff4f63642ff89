"""Plays episodes concurrently: batched searches, scoring during generation, and no failure affects other episodes."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import Any

from .._util.keys import hidden, without_keys
from .._util.sync import awaiting_plug_in
from ..envs.chat import Sampling
from ..envs.episode import Episode
from ..envs.question import Question
from ..envs.retrieval import Retriever
from ..envs.reward import Reward, RewardFunction, no_reward
from ..envs.tools.running import run_call_async
from ..envs.trajectory import Kind, Trajectory
from ..errors import BudgetSpent
from .agent import Agent, ModelHandle
from .batcher import Batcher
from .models.model import Model
from .pr2 import Unpersonalised

DEFAULT_SAMPLING = Sampling(temperature=1.0)


@dataclass(frozen=True)
class Job:
    """One episode to play: the question, the agent, and the number or the name of the attempt."""

    question: Question
    agent: Agent
    attempt: int | str = 0
    data: str | None = None

    @property
    def id(self) -> str:
        return f"{self.question.id}:{self.agent.name}:{self.attempt}"

    def seed(self, run_seed: int) -> int:
        """Depends on the run's seed and this request alone, not on other requests of the run."""
        return int.from_bytes(blake2b(f"{run_seed}:{self.id}".encode(), digest_size=7).digest())


class JobFeed:
    """Jobs that arrive while others are played. The run goes on until it is closed."""

    def __init__(self) -> None:
        self.closed = False
        self.wake: Callable[[], None] = lambda: None
        self._next, self._urgent = deque[Job](), deque[Job]()

    def __len__(self) -> int:
        return len(self._next) + len(self._urgent)

    def put(self, jobs: Iterable[Job], urgent: bool = False) -> None:
        """Adds jobs; `urgent` ones are played before all others. Once it is closed, none are."""
        if not self.closed:
            (self._urgent if urgent else self._next).extend(jobs)
            self.wake()

    def close(self) -> None:
        """Drops the jobs that are not begun; the run ends with those that are."""
        self.closed = True
        self._next.clear()
        self._urgent.clear()
        self.wake()

    def take(self) -> Job | None:
        """The next job; None where there is none at the moment."""
        waiting = self._urgent or self._next
        return waiting.popleft() if waiting else None


@dataclass
class Rollout:
    """Plays episodes concurrently with one model, retriever and reward.

    `in_flight` limits the open episodes, `deadline` the seconds of one episode up to its last turn, `max_tokens` the
    policy's tokens in an episode, `sampling.max_tokens` those in a turn. `options` are those of `Episode`. Scoring has
    no deadline here: a judge has its own for each call, and its calls may have to wait.
    """

    model: Model
    retriever: Retriever
    reward: RewardFunction = no_reward
    sampling: Sampling = DEFAULT_SAMPLING
    in_flight: int = 256
    deadline: float = 600.0
    max_tokens: int | None = None
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    async def run(self, requests: Iterable[Job] | JobFeed) -> AsyncGenerator[Trajectory, None]:
        """Yields each trajectory as its episode ends. Requests are read lazily, so there may be any number of them.

        A spent budget stops the run: episodes that have ended or wait for their score are still yielded, then the error
        is raised.
        """
        batcher = Batcher(self.retriever, self.reward)
        playing, finished = set[asyncio.Task[Trajectory]](), asyncio.Queue[asyncio.Task[Trajectory] | None]()
        if isinstance(requests, JobFeed):
            feed, take = requests, requests.take
            feed.wake = partial(finished.put_nowait, None)
        else:
            feed, take = None, partial(next, iter(requests), None)
        budget_error: BudgetSpent | None = None
        try:
            while True:
                while not budget_error and len(playing) < self.in_flight and (request := take()):
                    task = asyncio.create_task(self._play(request, batcher))
                    task.add_done_callback(finished.put_nowait)
                    playing.add(task)
                if not playing and (budget_error or feed is None or feed.closed):
                    break
                ended = await finished.get()
                if ended is None:  # more jobs, or the end of them
                    continue
                playing.discard(ended)
                if budget_error and ended.cancelled():
                    continue
                try:
                    trajectory = ended.result()
                except BudgetSpent as error:
                    budget_error = budget_error or error
                    _cancel(playing - batcher.scoring)
                else:
                    yield trajectory
        finally:
            _cancel(playing)
            await asyncio.gather(*playing, return_exceptions=True)
        if budget_error:
            raise budget_error

    async def _play(self, request: Job, batcher: Batcher) -> Trajectory:
        """An error ends this episode alone; only a spent budget ends the run."""
        options = {**self.options, "id": request.id, "data": request.data, "seed": request.seed(self.seed)}
        try:
            episode = request.agent.begin(request.question, **options)
        except Exception as error:
            return self._not_begun(request, hidden(f"{type(error).__name__}: {error}"))
        handle = ModelHandle(self.model, episode, self.sampling, self.max_tokens)
        limit = asyncio.timeout(self.deadline)
        try:
            async with limit:
                await _play(request.agent, episode, handle, batcher)
                handle.close()  # frees the session for other episodes while the judge scores
            episode.score(await batcher.score(episode))
        except BudgetSpent:
            raise
        except Exception as error:
            late = isinstance(error, TimeoutError) and limit.expired()
            message = f"it took longer than its deadline of {self.deadline:g} seconds"
            episode.fail(message if late else f"{type(error).__name__}: {error}")
        finally:
            handle.close()
        trajectory = episode.trajectory()
        trajectory.agent, trajectory.model, trajectory.usage = request.agent.name, self.model.name, handle.usage
        return trajectory

    def _not_begun(self, request: Job, error: str) -> Trajectory:
        """The record of an episode whose agent failed to begin it."""
        question = request.question
        kind: Kind = "baseline" if isinstance(request.agent, Unpersonalised) else "personalised"
        return Trajectory(
            request.id, question.id, question.user_id, kind, segment_fields=[], search_fields=(), answer=None,
            ended="error", data=without_keys(request.data), agent=request.agent.name, model=self.model.name,
            seed=request.seed(self.seed), reward=Reward(None, unscored=error), error=error,
        )  # fmt: skip


def _cancel(tasks: Iterable[asyncio.Task[Trajectory]]) -> None:
    for task in tasks:
        task.cancel()


async def _play(agent: Agent, episode: Episode, handle: ModelHandle, batcher: Batcher) -> None:
    """Plays until the transcript is complete."""
    while episode.needs != "score":
        if episode.needs == "call":
            await run_call_async(episode)
        elif episode.needs == "search":
            episode.add_hits(*await batcher.search(episode, agent.retriever))
        elif handle.exhausted:
            episode.truncate()
        else:
            with awaiting_plug_in():
                turn = await agent.act(episode, handle)
            episode.write(turn.text, turn.tokens, turn.logprobs, turn.segment_tokens)
