"""The vLLM servers of one model: which of them answer, and which one a conversation asks."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from ...errors import EndpointError, ModelError, OptionError
from .endpoint import Endpoint

SLACK = 8  # more waiting requests than elsewhere, for which a conversation leaves the server that has its prefix
RETRY, LONGEST_RETRY = 0.25, 5.0  # seconds until a server that is down is tried again: doubling
FIRST_PATIENCE = 15.0  # seconds; before the first contact a wrong URL is more likely than a server that restarts
_POLL, _PROBE = 0.05, 10.0  # seconds
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Served:
    """What a server says about the model that it serves."""

    name: str
    path: str  # the folder or hub id of the weights
    context: int


class Server:
    """One vLLM server. `served` is None while it does not answer."""

    def __init__(self, url: str, endpoint: Endpoint) -> None:
        self.url, self.endpoint = url, endpoint
        self.served: Served | None = None
        self.waiting = 0  # requests that it has not answered
        self.problem, self.tried = "not asked yet", False
        self.refused = False  # it answers, but does not serve the model
        self._pause, self._next_try = RETRY, 0.0
        self._probe: asyncio.Task[None] | None = None

    @contextmanager
    def asked(self) -> Iterator[None]:
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    def failed(self, error: object, now: float) -> None:
        """Leaves the server out until it is tried again. Requests that fail together count once."""
        if self.served is not None:
            log.warning("vLLM at %s is left out until it answers again: %s", self.url, error)
            self.served = None
            self._wait(error, now)

    def _wait(self, problem: object, now: float) -> None:
        self.problem, self.tried = str(problem), True
        self._next_try, self._pause = now + self._pause, min(LONGEST_RETRY, 2 * self._pause)

    def probe(self, model: str | None, clock: Callable[[], float]) -> None:
        """Asks in the background, if it is time, whether it is there again."""
        loop = asyncio.get_running_loop()
        asking = self._probe is not None and not self._probe.done() and self._probe.get_loop() is loop
        if not asking and clock() >= self._next_try:
            self._probe = loop.create_task(self._ask(model, clock))

    async def _ask(self, model: str | None, clock: Callable[[], float]) -> None:
        try:
            reply = await self.endpoint.get("/models", _PROBE)
            served = _served(reply, model)
        except EndpointError as error:
            self._wait(error, clock())
            return
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            self._wait(f"{self.url}/v1/models cannot be read: {error!r}", clock())
            return
        self.refused = served is None
        if served is None:
            names = ", ".join(str(card.get("id")) for card in reply["data"])
            self._wait(f"{self.url} serves {names}, not {model}", clock())
        else:
            self.endpoint.breaker.succeeded()
            self.served, self.tried, self._pause = served, True, RETRY

    async def close(self) -> None:
        if self._probe is not None and self._probe.get_loop() is asyncio.get_running_loop():
            self._probe.cancel()
        self._probe = None
        await self.endpoint.close()


class Servers:
    """Spreads requests over servers: by prefix, so that it is in their cache, unless another queue is shorter.

    A server that fails is left out and tried again. Where none answers, a request waits for one, `patience` seconds
    at most.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        model: str | None = None,
        api_key: str | None = None,
        concurrency: int = 256,
        timeout: float = 600.0,
        patience: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not urls or len(set(urls)) < len(urls):
            raise OptionError(f"vllm:{'|'.join(urls)}: give one URL or several different ones, with | between them")
        key = api_key or os.environ.get("VLLM_API_KEY") or "none"
        self._model, self._patience, self._clock = model, patience, clock
        self._met = False
        self.all = [Server(url, _endpoint(url, model, key, concurrency, timeout)) for url in map(_base, urls)]

    async def choose(self, prefix: Sequence[int] = (), last: Server | None = None) -> tuple[Server, Served]:
        """The server to ask, `last` if there is no better one. Raises `ModelError` where none answers."""
        started = self._clock()
        while True:
            for server in self.all:
                if server.served is None:
                    server.probe(self._model, self._clock)
            live = [server for server in self.all if server.served is not None]
            if live and all(server.tried for server in self.all):
                self._met = True
                chosen = _best(live, prefix, last)
                assert chosen.served is not None
                return chosen, chosen.served
            patience = self._patience if self._met else min(self._patience, FIRST_PATIENCE)
            if all(server.refused for server in self.all) or self._clock() - started > patience:
                raise ModelError("no vLLM server can be asked: " + "; ".join(server.problem for server in self.all))
            await asyncio.sleep(_POLL)

    def failed(self, server: Server, error: object) -> None:
        server.failed(error, self._clock())

    async def close(self) -> None:
        for server in self.all:
            await server.close()


def _best(live: Sequence[Server], prefix: Sequence[int], last: Server | None) -> Server:
    """The last server, or else the one that this prefix belongs to; one with a much shorter queue before both."""
    idlest = min(live, key=lambda server: server.waiting)
    home = last if last in live else max(live, key=lambda s: blake2b(f"{s.url} {list(prefix)}".encode()).digest())
    assert home is not None
    return home if home.waiting <= idlest.waiting + SLACK else idlest


def _base(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise OptionError(f"vllm:{url}: a URL must begin with http:// or https://, such as http://127.0.0.1:8000")
    return url.rstrip("/").removesuffix("/v1")


def _endpoint(url: str, model: str | None, key: str, concurrency: int, timeout: float) -> Endpoint:
    """One try a call: another server may answer instead."""
    endpoint = Endpoint(
        model or "default", base_url=f"{url}/v1", api_key=key, concurrency=concurrency, timeout=timeout,
        deadline=timeout, attempts=1,
    )  # fmt: skip
    endpoint.name = "vLLM"
    endpoint.limiter.limit = float(concurrency)  # vLLM has a queue of its own, and never says 429
    return endpoint


def _served(reply: Any, model: str | None) -> Served | None:
    """The model of that name, by default the one whose weights were loaded.

    Adapters have it as their parent: they share its tokenizer and its context.
    """
    cards = {card["id"]: card for card in reply["data"]}
    own = next((card for card in reply["data"] if not card.get("parent")), None)
    card = own if model is None else cards.get(model)
    if card is None:
        return None
    parent = cards.get(card.get("parent"), card)
    return Served(card["id"], parent.get("root") or parent["id"], int(parent["max_model_len"]))
