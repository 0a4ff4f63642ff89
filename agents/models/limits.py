"""Adaptive concurrency, rate limit and circuit breaker for an endpoint."""

import asyncio
from collections import deque
from collections.abc import Callable

from ...errors import EndpointError

START = 16  # concurrent calls at first
CUT = 0.7
RECOVERY = 0.25  # added per success after a cut: about a quarter more with each round of calls


class AdaptiveLimiter:
    """Adapts the number of concurrent calls to the endpoint, for the calls of one event loop.

    The limit doubles with each round of calls until the first HTTP 429; then it backs off and recovers.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = float(min(most, START))
        self.inside = 0
        self._cuts = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self, ahead: bool = False) -> int:
        """Waits for a slot, `ahead` of others for a retry; returns the ticket for `back_off`."""
        if self.inside < int(self.limit) and (ahead or not self._waiting):
            self.inside += 1
        else:
            await self._wait(ahead)
        return self._cuts

    async def _wait(self, ahead: bool) -> None:
        slot = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if ahead else self._waiting.append)(slot)
        try:
            await slot
        except asyncio.CancelledError:
            if not slot.cancelled():  # the slot was assigned at the moment of the cancellation
                self.leave()
            raise

    def leave(self) -> None:
        self.inside -= 1
        self._admit()

    def succeeded(self) -> None:
        self.limit = min(self.most, self.limit + (RECOVERY if self._cuts else 1))
        self._admit()

    def back_off(self, ticket: int) -> None:
        """Backs off once for all calls that were in flight together."""
        if ticket == self._cuts:
            self._cuts += 1
            self.limit = max(1.0, self.limit * CUT)

    def _admit(self) -> None:
        while self._waiting and self.inside < int(self.limit):
            slot = self._waiting.popleft()
            if not slot.done():  # the caller may have been cancelled
                self.inside += 1
                slot.set_result(None)


class RateLimiter:
    """Spreads amounts evenly over time, with a burst of one second's worth."""

    def __init__(self, per_minute: float | None, clock: Callable[[], float]) -> None:
        self._seconds_each = 60 / per_minute if per_minute else 0.0
        self._clock = clock
        self._available_at = clock()  # when the amounts taken so far are used up

    def take(self, amount: float) -> float:
        """Takes an amount; the seconds to wait before using it."""
        now = self._clock()
        self._available_at = max(self._available_at, now) + amount * self._seconds_each
        return max(0.0, self._available_at - amount * self._seconds_each - now - (1.0 if self._seconds_each else 0.0))

    def give_back(self, amount: float) -> None:
        """Returns an amount that was taken but not used."""
        self._available_at -= amount * self._seconds_each


class CircuitBreaker:
    """Opens when calls fail for `patience` seconds and none succeeds; then one probe per `rest` seconds is allowed.

    A success closes it. `patience` is longer than the pauses between a call's six attempts (15 to 19 s), so an outage
    of 15 s fails no call.
    """

    def __init__(
        self, where: str, clock: Callable[[], float], failures: int = 10, patience: float = 30.0, rest: float = 10.0
    ) -> None:
        self._where, self._clock = where, clock
        self._max_failures, self._patience, self._rest = failures, patience, rest
        self._failures = 0
        self._failing_since = self._last_try = 0.0

    @property
    def open(self) -> bool:
        return self._failures >= self._max_failures and self._clock() - self._failing_since >= self._patience

    def check(self) -> None:
        if not self.open:
            return
        now = self._clock()
        if now - self._last_try < self._rest:
            raise EndpointError(
                f"the endpoint at {self._where} is down: {self._failures} failures and no success in the last "
                f"{now - self._failing_since:.0f} s; next try in {self._rest - now + self._last_try:.0f} s"
            )
        self._last_try = now

    def failed(self) -> None:
        if self._failures == 0:
            self._failing_since = self._clock()
        self._failures += 1
        self._last_try = self._clock()

    def succeeded(self) -> None:
        self._failures = 0
