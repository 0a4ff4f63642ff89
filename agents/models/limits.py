"""How hard an endpoint may be asked: how many calls at once, how many a minute, and none while it is down."""

import asyncio
from collections import deque
from collections.abc import Callable

from ...errors import EndpointError

START = 16  # calls at once before anything is known of the endpoint
CUT = 0.7
RECOVERY = 0.25  # places a success, after a cut: about a quarter more with each round of calls


class AdaptiveLimiter:
    """Lets in as many calls at once as the endpoint bears, for the calls of one event loop.

    The number doubles with each round of calls until the first "too many"; then it backs off and recovers.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = float(min(most, START))
        self.inside = 0
        self._cuts = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self, ahead: bool = False) -> int:
        """Waits for a place, `ahead` of others if this is not the first try; the ticket is for `too_many`."""
        if self.inside < int(self.limit) and (ahead or not self._waiting):
            self.inside += 1
        else:
            await self._wait(ahead)
        return self._cuts

    async def _wait(self, ahead: bool) -> None:
        place = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if ahead else self._waiting.append)(place)
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():  # it was given in the moment of the cancellation
                self.leave()
            raise

    def leave(self) -> None:
        self.inside -= 1
        self._admit()

    def went_well(self) -> None:
        self.limit = min(self.most, self.limit + (RECOVERY if self._cuts else 1))
        self._admit()

    def too_many(self, ticket: int) -> None:
        """Backs off once for all the calls that were in flight together."""
        if ticket == self._cuts:
            self._cuts += 1
            self.limit = max(1.0, self.limit * CUT)

    def _admit(self) -> None:
        while self._waiting and self.inside < int(self.limit):
            place = self._waiting.popleft()
            if not place.done():  # who waited may have been cancelled
                self.inside += 1
                place.set_result(None)


class RateLimiter:
    """Spreads amounts evenly over the minutes, with a second's worth of burst."""

    def __init__(self, per_minute: float | None, clock: Callable[[], float]) -> None:
        self._seconds_each = 60 / per_minute if per_minute else 0.0
        self._clock = clock
        self._free = clock()  # when all that was taken is paid back

    def take(self, amount: float) -> float:
        """The seconds to wait before it may be used."""
        now = self._clock()
        self._free = max(self._free, now) + amount * self._seconds_each
        return max(0.0, self._free - amount * self._seconds_each - now - (1.0 if self._seconds_each else 0.0))

    def give_back(self, amount: float) -> None:
        """What was taken and not used."""
        self._free -= amount * self._seconds_each


class CircuitBreaker:
    """Opens when calls fail for a while and none succeeds; then one call in each `rest` may try; a success closes it.

    `patience` outlasts the pauses between a call's six attempts (15 to 19 s), so that none is cut short: an outage of
    15 s loses no call.
    """

    def __init__(
        self, where: str, clock: Callable[[], float], failures: int = 10, patience: float = 30.0, rest: float = 10.0
    ) -> None:
        self._where, self._clock = where, clock
        self._most, self._retry_policy, self._rest = failures, patience, rest
        self._failures = 0
        self._since = self._tried = 0.0

    @property
    def open(self) -> bool:
        return self._failures >= self._most and self._clock() - self._since >= self._retry_policy

    def check(self) -> None:
        if not self.open:
            return
        now = self._clock()
        if now - self._tried < self._rest:
            raise EndpointError(
                f"the endpoint at {self._where} is down: {self._failures} failures and no reply in the last "
                f"{now - self._since:.0f} s; it is asked again in {self._rest - now + self._tried:.0f} s"
            )
        self._tried = now

    def failed(self) -> None:
        if self._failures == 0:
            self._since = self._clock()
        self._failures += 1
        self._tried = self._clock()

    def succeeded(self) -> None:
        self._failures = 0
