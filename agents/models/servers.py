"""Servers that answer for each other: which of them are up, and which one a conversation asks."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Generic, TypeVar

from ..._util.keys import hidden
from ...errors import EndpointError, ModelError
from .endpoint import Endpoint

SLACK = 8  # more waiting requests than elsewhere, for which a conversation leaves the server that has its prefix
RETRY, LONGEST_RETRY = 0.25, 5.0  # seconds until a server that is down is tried again: doubling
FIRST_PATIENCE = 15.0  # seconds; before the first contact a wrong URL is more likely than a server that restarts
_POLL = 0.05  # seconds
log = logging.getLogger(__name__)
Served = TypeVar("Served")
Prefix = str | Sequence[int]


class Refused(EndpointError):
    """A server answers, but not for what is asked of it."""


class Server(Generic[Served]):
    """One server. `served` is what it serves, None while it does not answer; `probe` asks whether it does."""

    def __init__(
        self, url: str, endpoint: Endpoint, probe: Callable[[], Awaitable[Served]], served: Served | None = None
    ) -> None:
        self.url, self.endpoint = url, endpoint
        self.served = served
        self.waiting = 0  # requests that it has not answered
        self.problem, self.tried = "not asked yet", served is not None
        self.refused = False  # it answers, but does not serve the model
        self.met = False  # it answered once
        self._pause, self._next_try = RETRY, 0.0
        self._ask_it = probe
        self._probe: asyncio.Task[None] | None = None

    @contextmanager
    def asked(self) -> Iterator[None]:
        self.waiting += 1
        try:
            yield
            self.met = True
        finally:
            self.waiting -= 1

    def failed(self, error: object, now: float) -> None:
        """Leaves the server out until it is tried again. Requests that fail together count once."""
        if self.served is not None:
            log.warning("the server at %s is left out until it answers again: %s", hidden(self.url), error)
            self.served = None
            self._wait(error, now)

    def _wait(self, problem: object, now: float) -> None:
        self.problem, self.tried = str(problem), True
        self._next_try, self._pause = now + self._pause, min(LONGEST_RETRY, 2 * self._pause)

    def probe(self, clock: Callable[[], float]) -> None:
        """Asks in the background, if it is time, whether it is there again."""
        loop = asyncio.get_running_loop()
        asking = self._probe is not None and not self._probe.done() and self._probe.get_loop() is loop
        if not asking and clock() >= self._next_try:
            self._probe = loop.create_task(self._ask(clock))

    async def _ask(self, clock: Callable[[], float]) -> None:
        try:
            served = await self._ask_it()
        except EndpointError as error:
            self.refused = isinstance(error, Refused)
            self._wait(error, clock())
            return
        self.endpoint.breaker.succeeded()
        self.served, self.tried, self._pause = served, True, RETRY
        self.met, self.refused = True, False

    async def close(self) -> None:
        if self._probe is not None and self._probe.get_loop() is asyncio.get_running_loop():
            self._probe.cancel()
        self._probe = None
        await self.endpoint.close()


class Spread(Generic[Served]):
    """Spreads requests over servers: by prefix, so that it is in their cache, unless another queue is shorter.

    A server that fails is left out and tried again. Where none answers, a request waits for one, `patience` seconds
    at most.
    """

    def __init__(
        self,
        servers: Sequence[Server[Served]],
        *,
        patience: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.all = list(servers)
        self._patience, self._clock = patience, clock

    async def choose(self, prefix: Prefix = (), last: Server[Served] | None = None) -> tuple[Server[Served], Served]:
        """The server to ask, `last` if there is no better one. Raises `ModelError` where none answers."""
        started = self._clock()
        while True:
            for server in self.all:
                if server.served is None:
                    server.probe(self._clock)
            live = [server for server in self.all if server.served is not None]
            if live and all(server.tried for server in self.all):
                chosen = _best(live, prefix, last)
                assert chosen.served is not None
                return chosen, chosen.served
            met = any(server.met for server in self.all)
            patience = self._patience if met else min(self._patience, FIRST_PATIENCE)
            if all(server.refused for server in self.all) or self._clock() - started > patience:
                raise ModelError("no server can be asked: " + "; ".join(server.problem for server in self.all))
            await asyncio.sleep(_POLL)

    def failed(self, server: Server[Served], error: object) -> None:
        server.failed(error, self._clock())

    async def close(self) -> None:
        for server in self.all:
            await server.close()


def _best(live: Sequence[Server[Served]], prefix: Prefix, last: Server[Served] | None) -> Server[Served]:
    """The last server, or else the one that this prefix belongs to; one with a much shorter queue before both."""
    idlest = min(live, key=lambda server: server.waiting)
    said = prefix if isinstance(prefix, str) else list(prefix)
    home = last if last in live else max(live, key=lambda s: blake2b(f"{s.url} {said}".encode()).digest())
    assert home is not None
    return home if home.waiting <= idlest.waiting + SLACK else idlest
