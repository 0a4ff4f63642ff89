"""An OpenAI-compatible server on 127.0.0.1 with scripted faults; subclasses write its replies."""

import asyncio
import contextlib
import json
import random
import socket
import struct
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from aiohttp import web

Body = dict[str, Any]


class Fault(StrEnum):
    """How a request can fail."""

    TOO_MANY = "429"
    TOO_MANY_FOR_NOW = "429 with Retry-After"
    ERROR = "500"
    UNAVAILABLE = "503"
    UNAUTHORIZED = "401, with the key in its text"
    HALF = "half a body, then the connection closes"
    NO_JSON = "a body that is not JSON"
    MALFORMED = "a reply whose text is cut JSON"
    WRONG_SCHEMA = "a reply whose text is JSON of another shape"
    SLOW_BODY = "a body that comes byte by byte"
    RESET = "the connection is reset"


class LoopbackServer:
    """A server in a thread; a subclass names its `paths` and writes the replies in `_said`.

    `script` gives the fault of each of the first requests (None: no fault); after that, `rates` gives the probability
    of each fault. A body with a field in `refuses` gets a 400 with OpenAI's message. `requests` counts all requests,
    `answered` those without a fault; `seen` keeps their bodies.
    """

    paths: ClassVar[tuple[str, ...]] = ()
    version: str | None = None  # told at `/version`, as vLLM does

    def __init__(
        self,
        *,
        latency: float = 0.0,
        script: Iterable[Fault | None] = (),
        rates: Mapping[Fault, float] | None = None,
        retry_after: float = 1.0,
        drip: float = 0.05,
        refuses: Collection[str] = (),
        seed: int = 0,
    ) -> None:
        self.latency, self.rates = latency, dict(rates or {})
        self.retry_after, self.drip, self.refuses = retry_after, drip, refuses
        self.requests = self.answered = self.in_flight = self.most_in_flight = 0
        self.seen: list[Body] = []
        self._script = iter(script)
        self._random = random.Random(seed)
        self._port = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def _refused(self, path: str, body: Body) -> tuple[int, str] | None:
        """Status and reason for a request that this server does not accept."""
        return None

    def _said(self, path: str, body: Body, fault: Fault | None) -> Body:
        """The reply's JSON, with the fault where it is one of content."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts listening; after a `stop`, on the same port."""
        ready: list[BaseException | None] = []
        up = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready, up), name="loopback-server", daemon=True)
        self._thread.start()
        up.wait()
        if ready and ready[0] is not None:
            raise ready[0]

    def stop(self) -> None:
        """Drops every connection and stops listening."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._gone.set)
            self._thread.join()
        self._loop = self._thread = None

    def _run(self, ready: list[BaseException | None], up: threading.Event) -> None:
        with asyncio.Runner() as runner:
            try:
                runner.run(self._serve(ready, up))
            except BaseException as error:
                ready.append(error)
                up.set()

    async def _serve(self, ready: list[BaseException | None], up: threading.Event) -> None:
        from aiohttp import web

        self._loop, self._gone = asyncio.get_running_loop(), asyncio.Event()
        application = web.Application()
        self._add_routes(application.router)
        runner = web.AppRunner(application, access_log=None, handler_cancellation=True)
        await runner.setup()
        assert runner.server is not None
        listener = Listener(self._port, runner.server)
        self._port = listener.port
        ready.append(None)
        up.set()
        await self._gone.wait()
        await listener.close()
        for connection in runner.server.connections:
            _drop(connection.transport)
        await runner.cleanup()

    def _add_routes(self, router: "web.UrlDispatcher") -> None:
        for path in self.paths:
            router.add_post(f"/v1{path}", self._complete)
        router.add_get("/version", self._version)

    async def _version(self, request: "web.Request") -> "web.Response":
        from aiohttp import web

        if self.version is None:
            raise web.HTTPNotFound
        return web.json_response({"version": self.version})

    async def _complete(self, request: "web.Request") -> "web.StreamResponse":
        body = await request.json()
        self.requests += 1
        self.seen.append(body)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self._wait(body)
            return await self._reply(request, body)
        finally:
            self.in_flight -= 1

    async def _wait(self, body: Body) -> None:
        if self.latency:
            await asyncio.sleep(self.latency)

    async def _reply(self, request: "web.Request", body: Body) -> "web.StreamResponse":
        from aiohttp import web

        path = request.path.removeprefix("/v1")
        if field := next((name for name in self.refuses if name in body), None):
            return _unsupported(field)
        if refused := self._refused(path, body):
            return refusal(*refused)
        fault = self._next()
        match fault:
            case Fault.TOO_MANY | Fault.ERROR | Fault.UNAVAILABLE:
                return refusal(int(fault), "scripted fault")
            case Fault.TOO_MANY_FOR_NOW:
                return refusal(429, "slow down", {"Retry-After": f"{self.retry_after:g}"})
            case Fault.UNAUTHORIZED:
                return refusal(401, f"incorrect key: {request.headers.get('Authorization')}")
            case Fault.NO_JSON:
                return web.Response(text="<html>gateway</html>", content_type="text/html")
            case Fault.RESET:
                return _reset(request)
        whole = json.dumps(self._said(path, body, fault)).encode()
        if fault in (Fault.HALF, Fault.SLOW_BODY):
            return await self._slowly(request, whole, fault)
        self.answered += fault is None
        return web.Response(body=whole, content_type="application/json")

    def _next(self) -> Fault | None:
        for fault in self._script:
            return fault
        draw = self._random.random()
        for fault, rate in self.rates.items():
            draw -= rate
            if draw < 0:
                return fault
        return None

    async def _slowly(self, request: "web.Request", whole: bytes, fault: Fault) -> "web.StreamResponse":
        from aiohttp import web

        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.content_length = len(whole)
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):  # the client has disconnected
            if fault is Fault.HALF:
                await response.write(whole[: len(whole) // 2])
                assert request.transport is not None
                request.transport.close()
                return response
            for i in range(len(whole)):
                await response.write(whole[i : i + 1])
                await asyncio.sleep(self.drip)
        return response


class Listener:
    """Accepts connections one by one, so that none is half accepted when it closes."""

    def __init__(self, port: int, protocol: Callable[[], asyncio.BaseProtocol]) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=2048)
        self._listener.setblocking(False)
        self._protocol = protocol
        self._entering: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._listener, self._accept)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    async def close(self) -> None:
        """Accepts no more, and waits for connections being accepted."""
        self._loop.remove_reader(self._listener)
        self._listener.close()
        await asyncio.gather(*self._entering)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):  # the client has disconnected
            connection, _ = self._listener.accept()
            entering = self._loop.create_task(self._loop.connect_accepted_socket(self._protocol, connection))
            self._entering.add(entering)
            entering.add_done_callback(self._entering.discard)


def refusal(status: int, message: str, headers: Mapping[str, str] | None = None, **more: str | None) -> "web.Response":
    from aiohttp import web

    return web.json_response(
        {"error": {"message": message, "type": "scripted", **more}}, status=status, headers=headers
    )


def _unsupported(field: str) -> "web.Response":
    told = f"Unsupported parameter: '{field}' is not supported with this model."
    return refusal(400, told, type="invalid_request_error", param=field, code="unsupported_parameter")


def _reset(request: "web.Request") -> "web.StreamResponse":
    from aiohttp import web

    _drop(request.transport)
    return web.Response()


def _drop(transport: asyncio.Transport | None) -> None:
    if transport is not None and not transport.is_closing():
        connection = transport.get_extra_info("socket")
        linger = struct.pack("ii", 1, 0)  # closing then sends a reset
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()
