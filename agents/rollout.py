"""Plays any number of episodes at once: searches in batches, scores beside generation; no failure takes another."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from math import isfinite
from time import perf_counter
from typing import Any, Generic, TypeVar

from ..envs.chat import Sampling
from ..envs.episode import Episode
from ..envs.question import Question
from ..envs.retrieval import Hit, Retriever
from ..envs.reward import Reward, RewardFunction, no_reward, score_async
from ..envs.trajectory import Kind, Trajectory
from ..errors import BudgetSpent, RewardError
from .agent import Agent, ModelHandle
from .models.model import Model
from .pr2 import Unpersonalised

Asked = TypeVar("Asked")
Told = TypeVar("Told")
DEFAULT_SAMPLING = Sampling(temperature=1.0)


@dataclass(frozen=True)
class Job:
    """One episode to play: who plays it, on which question, and which of several attempts it is."""

    question: Question
    agent: Agent
    attempt: int | str = 0
    data: str | None = None

    @property
    def id(self) -> str:
        return f"{self.question.id}:{self.agent.name}:{self.attempt}"

    def seed(self, run: int) -> int:
        """Its own, whatever else is played in the run."""
        return int.from_bytes(blake2b(f"{run}:{self.id}".encode(), digest_size=7).digest())


@dataclass
class Rollout:
    """Who answers and what is needed for it.

    `in_flight` bounds how many episodes are open, `deadline` (seconds) how long one may take to its last turn,
    `max_tokens` what the policy may write in one, `sampling.max_tokens` what it may write in a turn. `options` are
    those of `Episode`. Scoring has no deadline here: a judge has its own for each call, and may have a queue before it.
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

    async def run(self, jobs: Iterable[Job]) -> AsyncGenerator[Trajectory, None]:
        """Each job's trajectory as it ends. Jobs are drawn as there is room, so there may be any number of them.

        A spent budget is raised when the episodes that had ended, and those whose answers were with the judge, are out.
        """
        desk, waiting = _Batcher(self), iter(jobs)
        playing, over = set[asyncio.Task[Trajectory]](), asyncio.Queue[asyncio.Task[Trajectory]]()
        spent: BudgetSpent | None = None
        try:
            while True:
                while not spent and len(playing) < self.in_flight and (job := next(waiting, None)) is not None:
                    task = asyncio.create_task(self._play(job, desk))
                    task.add_done_callback(over.put_nowait)
                    playing.add(task)
                if not playing:
                    break
                task = await over.get()
                playing.discard(task)
                if spent and task.cancelled():
                    continue
                try:
                    trajectory = task.result()
                except BudgetSpent as error:
                    spent = spent or error
                    _give_up(playing - desk.scoring)
                else:
                    yield trajectory
        finally:
            _give_up(playing)
            await asyncio.gather(*playing, return_exceptions=True)
        if spent:
            raise spent

    async def _play(self, job: Job, desk: "_Batcher") -> Trajectory:
        """A failure of ours ends this episode alone; only a spent budget ends the run."""
        options = {**self.options, "id": job.id, "data": job.data, "seed": job.seed(self.seed)}
        try:
            episode = job.agent.begin(job.question, **options)
        except Exception as error:
            return self._not_begun(job, f"{type(error).__name__}: {error}")
        speaker = ModelHandle(self.model, episode, self.sampling, self.max_tokens)
        limit = asyncio.timeout(self.deadline)
        try:
            async with limit:
                await _play(job.agent, episode, speaker, desk)
                speaker.close()  # while a judge thinks others can have its place
            episode.score(await desk.score(episode))
        except BudgetSpent:
            raise
        except Exception as error:
            late = isinstance(error, TimeoutError) and limit.expired()
            told = f"it took longer than its deadline of {self.deadline:g} seconds"
            episode.fail(told if late else f"{type(error).__name__}: {error}")
        finally:
            speaker.close()
        trajectory = episode.trajectory()
        trajectory.agent, trajectory.model, trajectory.usage = job.agent.name, self.model.name, speaker.usage
        return trajectory

    def _not_begun(self, job: Job, problem: str) -> Trajectory:
        """The record of an episode that its agent could not begin: nothing was said."""
        question = job.question
        kind: Kind = "baseline" if isinstance(job.agent, Unpersonalised) else "personalised"
        return Trajectory(
            job.id, question.id, question.user_id, kind, segment_fields=[], search_fields=(), answer=None,
            ended="error", data=job.data, agent=job.agent.name, model=self.model.name, seed=job.seed(self.seed),
            reward=Reward(None, unscored=problem), error=problem,
        )  # fmt: skip


def _give_up(tasks: Iterable[asyncio.Task[Trajectory]]) -> None:
    for task in tasks:
        task.cancel()


async def _play(agent: Agent, episode: Episode, speaker: ModelHandle, desk: "_Batcher") -> None:
    """To the end of the transcript."""
    while episode.needs != "score":
        if episode.needs == "search":
            episode.add_hits(*await desk.search(episode, agent.retriever))
        elif speaker.spent:
            episode.truncate()
        else:
            turn = await agent.act(episode, speaker)
            episode.write(turn.text, turn.tokens, turn.logprobs, turn.segment_tokens)


class _Batcher:
    """Where episodes ask; what is asked at the same moment is found out in one call."""

    def __init__(self, rollout: Rollout) -> None:
        self._rollout = rollout
        self._searches: dict[tuple[int, int], _MicroBatch[Episode, tuple[list[Hit], float]]] = {}
        self._scores = _MicroBatch(self._score)
        self.scoring = set[asyncio.Task[Any]]()  # those who wait for a score

    async def search(self, episode: Episode, retriever: Retriever | None) -> tuple[list[Hit], float]:
        """The hits, and how long it took in milliseconds."""
        chosen = retriever or self._rollout.retriever
        place = (id(chosen), episode.fetch_k)
        if place not in self._searches:
            self._searches[place] = _MicroBatch(partial(_search, chosen, episode.fetch_k))
        return await self._searches[place].ask(episode)

    async def score(self, episode: Episode) -> Reward:
        """What could not be scored says why; it is never a score of 0."""
        task = asyncio.current_task()
        assert task is not None
        self.scoring.add(task)
        try:
            return await self._scores.ask(episode)
        except BudgetSpent:
            raise
        except Exception as error:
            return Reward(None, unscored=f"the reward function failed: {type(error).__name__}: {error}")
        finally:
            self.scoring.discard(task)

    async def _score(self, episodes: Sequence[Episode]) -> Sequence[Reward]:
        rewards = await score_async(self._rollout.reward, episodes)
        for reward in rewards:
            if reward.total is not None and not isfinite(reward.total):
                raise RewardError(f"a reward of {reward.total!r}")
        return rewards


async def _search(retriever: Retriever, k: int, episodes: Sequence[Episode]) -> list[tuple[list[Hit], float]]:
    requests = [(episode.question.profile, episode.query) for episode in episodes]
    start = perf_counter()
    if getattr(retriever, "runs_inline", False):
        found = retriever.search_many(requests, k)
    else:  # generation goes on meanwhile
        found = await asyncio.to_thread(retriever.search_many, requests, k)
    ms = 1e3 * (perf_counter() - start) / len(requests)
    return [(hits, ms) for hits in found]


class _MicroBatch(Generic[Asked, Told]):
    """Collects what is asked within one turn of the event loop, and asks for it in one call.

    Where that call fails each is asked alone, so that only those at fault fail.
    """

    def __init__(self, call: Callable[[Sequence[Asked]], Awaitable[Sequence[Told]]]) -> None:
        self._call = call
        self._asked: list[tuple[Asked, asyncio.Future[Told]]] = []
        self._calls: set[asyncio.Task[None]] = set()

    async def ask(self, one: Asked) -> Told:
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._send)
        future: asyncio.Future[Told] = loop.create_future()
        self._asked.append((one, future))
        return await future

    def _send(self) -> None:
        asked, self._asked = self._asked, []
        call = asyncio.create_task(self._answer(asked))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _answer(self, asked: Sequence[tuple[Asked, asyncio.Future[Told]]]) -> None:
        try:
            told = await self._call([one for one, _ in asked])
            pairs = list(zip(asked, told, strict=True))
        except Exception as error:
            if len(asked) == 1:
                if not asked[0][1].done():  # whoever asked may have given up
                    asked[0][1].set_exception(error)
            else:
                await asyncio.gather(*(self._answer([pair]) for pair in asked))
            return
        for (_, future), answer in pairs:
            if not future.done():
                future.set_result(answer)
