"""Batches what episodes need that are played at the same time: their searches, and their scores."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Any, Generic, TypeVar

from .._util.sync import awaiting_plug_in, to_thread
from ..envs.episode import Episode
from ..envs.retrieval import Hit, Retriever
from ..envs.reward import Reward, RewardFunction, plain_reward, score_async
from ..errors import BudgetSpent

Request = TypeVar("Request")
Result = TypeVar("Result")


class Batcher:
    """Batches the searches and scores that episodes request in the same iteration of the event loop."""

    def __init__(self, retriever: Retriever, reward: RewardFunction) -> None:
        self._retriever, self._reward = retriever, reward
        self._searches: dict[tuple[int, int], _MicroBatch[Episode, tuple[list[Hit], float]]] = {}
        self._scores = _MicroBatch(self._score)
        self.scoring = set[asyncio.Task[Any]]()  # tasks that wait for a score

    async def search(self, episode: Episode, retriever: Retriever | None = None) -> tuple[list[Hit], float]:
        """The hits, and the duration in milliseconds."""
        chosen = retriever or self._retriever
        key = (id(chosen), episode.fetch_k)
        if key not in self._searches:
            self._searches[key] = _MicroBatch(partial(_search, chosen, episode.fetch_k))
        return await self._searches[key].submit(episode)

    async def score(self, episode: Episode) -> Reward:
        """A failed reward gives an unscored result with the reason, never a score of 0."""
        task = asyncio.current_task()
        assert task is not None
        self.scoring.add(task)
        try:
            return await self._scores.submit(episode)
        except BudgetSpent:
            raise
        except Exception as error:
            return Reward(None, unscored=f"the reward function failed: {type(error).__name__}: {error}")
        finally:
            self.scoring.discard(task)

    async def _score(self, episodes: Sequence[Episode]) -> Sequence[Reward]:
        return list(map(plain_reward, await score_async(self._reward, episodes)))


async def _search(retriever: Retriever, k: int, episodes: Sequence[Episode]) -> list[tuple[list[Hit], float]]:
    requests = [(episode.question.profile, episode.query) for episode in episodes]
    start = perf_counter()
    if getattr(retriever, "runs_inline", False):
        found = retriever.search_many(requests, k)
    else:  # does not block generation
        found = await to_thread(retriever.search_many, requests, k)
    ms = 1e3 * (perf_counter() - start) / len(requests)
    return [(hits, ms) for hits in found]


class _MicroBatch(Generic[Request, Result]):
    """Collects the requests of one event-loop iteration and answers them in one call.

    If that call fails, each request is repeated alone, so that only the failing ones fail.
    """

    def __init__(self, call: Callable[[Sequence[Request]], Awaitable[Sequence[Result]]]) -> None:
        self._call = call
        self._pending: list[tuple[Request, asyncio.Future[Result]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, request: Request) -> Result:
        loop = asyncio.get_running_loop()
        if not self._pending:
            loop.call_soon(self._send)
        future: asyncio.Future[Result] = loop.create_future()
        self._pending.append((request, future))
        return await future

    def _send(self) -> None:
        batch, self._pending = self._pending, []
        task = asyncio.create_task(self._answer(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, batch: Sequence[tuple[Request, asyncio.Future[Result]]]) -> None:
        try:
            with awaiting_plug_in():
                results = await self._call([request for request, _ in batch])
            pairs = list(zip(batch, results, strict=True))
        except Exception as error:
            if len(batch) == 1:
                if not batch[0][1].done():  # the caller may have been cancelled
                    batch[0][1].set_exception(error)
            else:
                await asyncio.gather(*(self._answer([one]) for one in batch))
            return
        for (_, future), result in pairs:
            if not future.done():
                future.set_result(result)
