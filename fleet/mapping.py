"""Work on many items by the workers of a place, in shards of users: each result comes with its item's number."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._util.sync import run_sync
from ..errors import BudgetSpent, FleetError, ProfileGymError
from .driver import MOST_DEATHS, error_of
from .pool import Outcome, Pool, make_pool
from .shards import LARGEST, split
from .worker import GATHER, POLL, Surroundings, described

Items = Mapping[int, Any]
Found = tuple[int, Any]
Work = Callable[[Items], AsyncIterator[Found]]  # gives one result for each item, in any order
Make = Callable[[int], Work]  # made in each worker, which is told how many workers there are. It is pickled
_WAIT = 0.5  # seconds
log = logging.getLogger(__name__)


async def map_on(
    place: str, make: Make, items: Sequence[Any], users: Iterable[str], largest: int = LARGEST
) -> AsyncGenerator[Found, None]:
    """Yields each result as it arrives. Items of one user go to one worker; `largest` is the most items of a shard.

    What a worker had not given when it died is given to another. A spent budget is raised once the shards that were
    begun have ended, any other error at once.
    """
    with make_pool(place) as pool:
        mapping = _Mapping(pool, make, items, [shard.positions for shard in split(users, pool.size, largest)])
        while not mapping.over:
            for outcome in await asyncio.to_thread(pool.wait, _WAIT):
                for found in mapping.take(outcome):
                    yield found
        if mapping.stopped_by:
            raise mapping.stopped_by


@dataclass(frozen=True, slots=True)
class Results:
    """What came of a shard since the last call."""

    found: Sequence[Found] = ()
    ended: bool = True
    error: tuple[str, str] | None = None


class Mapper:
    """Works on one shard at a time. Its methods are called one at a time."""

    def ready(self) -> None:
        """Returns once the worker is placed."""

    def begin(self, make: Make, workers: int, surroundings: Surroundings) -> Results:
        try:
            surroundings.enter()
            self._work = make(workers)
        except Exception as error:
            return Results(error=described(error))
        return Results()

    def take(self, items: Items) -> Results:
        """Begins a shard."""
        return run_sync(self._take(items))

    def more(self) -> Results:
        return run_sync(self._more())

    async def _take(self, items: Items) -> Results:
        self._found, self._news = list[Found](), asyncio.Event()
        self._working = asyncio.create_task(self._run(items))
        return await self._more()

    async def _run(self, items: Items) -> None:
        try:
            async for found in self._work(items):
                self._found.append(found)
                self._news.set()
                await asyncio.sleep(0)  # work without any waiting is reported, too
        finally:
            self._news.set()

    async def _more(self) -> Results:
        try:
            async with asyncio.timeout(POLL):
                await self._news.wait()
        except TimeoutError:
            return Results(ended=False)
        await asyncio.wait([self._working], timeout=GATHER)
        self._news.clear()
        found, self._found = self._found, []
        ended = self._working.done()
        error = self._working.exception() if ended else None
        return Results(found, ended, described(error) if isinstance(error, Exception) else None)


@dataclass
class _Hand:
    """A worker, as the driver sees it."""

    number: int
    missing: set[int] = field(default_factory=set)  # items without a result
    deaths: int = 0  # since any worker's last result
    idle: bool = False


class _Mapping:
    """Gives out shards until every item has its result."""

    def __init__(self, pool: Pool, make: Make, items: Sequence[Any], shards: Iterable[Sequence[int]]) -> None:
        self._pool, self._items = pool, items
        self._begin = make, pool.size, Surroundings.of_driver()
        self._waiting = deque(shards)
        self._hands = [_Hand(number) for number in range(min(pool.size, len(self._waiting)))]
        self.stopped_by: ProfileGymError | None = None
        for hand in self._hands:
            self._start(hand)

    @property
    def over(self) -> bool:
        return all(hand.idle for hand in self._hands) and (not self._waiting or self.stopped_by is not None)

    def take(self, outcome: Outcome) -> Iterator[Found]:
        hand = self._hands[outcome.worker]
        if outcome.report is None:
            self._replace(hand, str(outcome.died))
            return
        results: Results = outcome.report
        for number, found in results.found:
            if number in hand.missing:
                hand.missing.discard(number)
                for other in self._hands:
                    other.deaths = 0
                yield number, found
        if results.error is not None:
            self._stop(error_of(*results.error))
        if results.ended:
            self._give(hand)
        else:
            self._pool.call(hand.number, "more")

    def _stop(self, error: ProfileGymError) -> None:
        if not isinstance(error, BudgetSpent):
            raise error
        self.stopped_by = self.stopped_by or error

    def _start(self, hand: _Hand) -> None:
        hand.idle = False
        self._pool.start(hand.number, Mapper)
        self._pool.call(hand.number, "begin", *self._begin)

    def _give(self, hand: _Hand) -> None:
        if hand.missing and not self.stopped_by:
            raise FleetError(f"the work gave no result for {len(hand.missing)} of the items of worker {hand.number}")
        hand.missing = set() if self.stopped_by or not self._waiting else set(self._waiting.popleft())
        hand.idle = not hand.missing
        if hand.missing:
            self._pool.call(hand.number, "take", {number: self._items[number] for number in sorted(hand.missing)})

    def _replace(self, hand: _Hand, reason: str) -> None:
        """Starts the worker again; what it had not given is waiting again."""
        hand.deaths += 1
        if hand.deaths >= MOST_DEATHS:
            raise FleetError(f"worker {hand.number} died {hand.deaths} times while there was no result: {reason}")
        log.warning("worker %d is started again, it died: %s", hand.number, reason)
        if hand.missing:
            self._waiting.appendleft(tuple(sorted(hand.missing)))
            hand.missing = set()
        if self._waiting and not self.stopped_by:
            self._start(hand)
        else:
            hand.idle = True
