"""WebSocket sessions of a server, spread over processes. A client sees one server, whose errors have OpenEnv's form."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from .._util.sync import run_sync
from ..errors import FleetError, ProfileGymError
from .driver import error_of
from .pool import Outcome, Pool
from .socket_calls import read_frame, write_frame
from .worker import described

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]  # as ASGI has it
PATH = "/ws"
_UNREACHABLE = (OSError, RuntimeError)  # as servers tell that a client is gone
_BACKLOG = 4096  # sessions that may begin at the same moment
_AHEAD = 16  # messages that a client may send before the first is answered
_WAIT = 0.5  # seconds that the pool is asked for deaths
_PLACED = 30.0  # seconds that a session waits for a worker
_AGAIN = 1.0  # seconds until a worker that did not start is started again
_PASSED_ON = ("type", "asgi", "http_version", "scheme", "path", "raw_path", "query_string", "root_path", "headers",
              "client", "server", "subprotocols")  # fmt: skip
log = logging.getLogger(__name__)


class SessionWorker:
    """Serves an application's sessions over a Unix socket: each connection is one, its frames are ASGI messages."""

    def serve(self, make: Callable[[], Application], path: str) -> tuple[str, str] | None:
        """Returns once the worker takes sessions, or class and message of what hinders it."""
        try:
            self._application = make()
            self._server = run_sync(asyncio.start_unix_server(self._session, path, backlog=_BACKLOG))
        except Exception as error:
            return described(error)
        return None

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def send(message: Message) -> None:
            write_frame(writer, message)
            await writer.drain()

        inbox = asyncio.Queue[Message](_AHEAD)
        reading = asyncio.create_task(_read_until_gone(reader, inbox))
        session = asyncio.ensure_future(self._application(await inbox.get(), inbox.get, send))
        await asyncio.wait((session, reading), return_when=asyncio.FIRST_COMPLETED)
        reading.cancel()
        session.cancel()  # where the client is gone, nobody waits for what is in progress
        try:
            with suppress(asyncio.CancelledError, OSError):
                await session
        finally:
            writer.close()


async def _read_until_gone(reader: asyncio.StreamReader, inbox: asyncio.Queue[Message]) -> None:
    while (message := await read_frame(reader)) is not None and message["type"] != "websocket.disconnect":
        await inbox.put(message)


class Ended(Exception):
    """A session ends before its client closes it. `code` is OpenEnv's."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(eq=False)
class _Hand:
    """A process of a worker."""

    number: int
    path: Path
    sessions: int = 0
    began: bool = False  # to take sessions
    died: bool = False


class Front:
    """An ASGI application: workers have its sessions, `application` the rest.

    `make` makes the application of a worker, in its process. `most` sessions are open at a time; one that asks for
    nothing for `idle` seconds is ended.
    """

    def __init__(
        self,
        application: Application,
        pool: Pool,
        make: Callable[[], Application],
        folder: Path,
        most: int,
        idle: float,
    ) -> None:
        self._application, self._pool, self._make, self._folder = application, pool, make, folder
        self._most, self._idle = most, idle
        self._hands: dict[int, _Hand] = {}  # the latest of each worker
        self._names = count()
        self._ready = asyncio.Event()  # some worker takes sessions
        self._open = 0
        self._problem = "they are being started"  # why there may be no worker

    @property
    def sessions(self) -> list[int]:
        """The number of open sessions of each worker that takes them."""
        return [hand.sessions for hand in self._taking()]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """What a session of another kind needs, such as that of the web page, is in this process."""
        if scope["type"] == "websocket" and scope["path"] == PATH and b"session_id=" not in scope["query_string"]:
            await self._session(scope, receive, send)
        else:
            await self._application(scope, receive, send)

    def start(self) -> None:
        """Starts the workers; returns once all take sessions. What hinders one is an error."""
        for number in range(self._pool.size):
            self._start(number)
        while len(self._taking()) < self._pool.size:
            for outcome in self._pool.wait(_WAIT):
                if (error := _error(outcome)) is not None:
                    raise error
                self._begin(outcome.worker)

    async def replace(self) -> None:
        """Starts workers again that die, until it is cancelled."""
        while True:
            for outcome in await asyncio.to_thread(self._pool.wait, _WAIT):
                if (error := _error(outcome)) is None:
                    self._begin(outcome.worker)
                else:
                    await self._restart(self._hands[outcome.worker], error)

    def _start(self, number: int) -> None:
        self._hands[number] = hand = _Hand(number, self._folder / f"{number}-{next(self._names)}")
        self._pool.start(number, SessionWorker)
        self._pool.call(number, "serve", self._make, str(hand.path))

    async def _restart(self, hand: _Hand, error: ProfileGymError) -> None:
        log.warning("worker %d is started again: %s", hand.number, error)
        self._problem = str(error)
        self._lose(hand)
        if not hand.began:
            await asyncio.sleep(_AGAIN)
        await asyncio.to_thread(self._start, hand.number)

    def _taking(self) -> list[_Hand]:
        return [hand for hand in self._hands.values() if hand.began and not hand.died]

    def _begin(self, number: int) -> None:
        self._hands[number].began = True
        self._ready.set()

    def _lose(self, hand: _Hand) -> None:
        hand.died = True
        if not self._taking():
            self._ready.clear()

    async def _session(self, scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        self._open += 1
        try:
            if self._open > self._most:
                raise Ended("CAPACITY_REACHED", f"all {self._most} sessions of the server are open: close one first")
            hand, reader, writer = await self._place(scope)
            try:
                await _Session(receive, send, reader, writer, self._idle).run()
            finally:
                writer.close()
                hand.sessions -= 1
        except Ended as error:
            await _tell(send, error)
        finally:
            self._open -= 1

    async def _place(self, scope: Message) -> tuple[_Hand, asyncio.StreamReader, asyncio.StreamWriter]:
        """A new session of the least busy worker, and the connection to it."""
        while True:
            hand = await self._least_busy()
            hand.sessions += 1
            try:
                return hand, *await _begun(hand.path, scope)
            except BaseException as error:
                hand.sessions -= 1
                if not isinstance(error, ConnectionError | FileNotFoundError):
                    raise
                self._lose(hand)  # it died a moment ago

    async def _least_busy(self) -> _Hand:
        try:
            async with asyncio.timeout(_PLACED):
                await self._ready.wait()
        except TimeoutError:
            raise Ended("SESSION_ERROR", f"no worker takes sessions: {self._problem}") from None
        return min(self._taking(), key=lambda hand: hand.sessions)


class _Session:
    """A session between its client and its worker."""

    def __init__(
        self, receive: Receive, send: Send, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, idle: float
    ) -> None:
        self._receive, self._send, self._reader, self._writer, self._idle = receive, send, reader, writer, idle
        self._asked = 0  # requests without a reply
        self._gone = self._closed = False  # by the client, by the worker

    async def run(self) -> None:
        """Returns once the worker has freed what the session held."""
        asking = asyncio.create_task(self._pass_requests())
        try:
            await self._until_idle()
        finally:
            asking.cancel()
        if not (self._gone or self._closed):
            raise Ended(
                "SESSION_ERROR", "the worker process of this session died, and its episode with it: reset again"
            )

    async def _until_idle(self) -> None:
        try:
            async with asyncio.timeout(self._idle) as self._limit:
                await self._pass_replies()
        except TimeoutError:
            self._gone = True
            with suppress(OSError):
                write_frame(self._writer, {"type": "websocket.disconnect", "code": 1001})
            await self._pass_replies()
            raise Ended("SESSION_ERROR", f"nothing was asked for {self._idle:g} s, so this session ended") from None

    async def _pass_requests(self) -> None:
        with suppress(OSError):  # the worker is dead
            while not self._gone:
                message = await self._receive()
                self._gone |= message["type"] == "websocket.disconnect"
                self._asked += 1
                self._let_idle(None)
                write_frame(self._writer, dict(message))
                await self._writer.drain()

    async def _pass_replies(self) -> None:
        while (message := await read_frame(self._reader)) is not None:
            if self._gone:
                continue
            self._closed = message["type"] == "websocket.close"
            self._asked -= 1
            if self._asked <= 0:
                self._let_idle(asyncio.get_running_loop().time() + self._idle)
            with suppress(*_UNREACHABLE):  # of which the next request tells
                await self._send(message)

    def _let_idle(self, until: float | None) -> None:
        if not self._limit.expired():
            self._limit.reschedule(until)


async def _begun(path: Path, scope: Message) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The connection of a session that a worker has accepted, as the front did before."""
    reader, writer = await asyncio.open_unix_connection(path)
    write_frame(writer, {name: scope[name] for name in _PASSED_ON if name in scope})
    write_frame(writer, {"type": "websocket.connect"})
    if await read_frame(reader) is None:
        writer.close()
        raise ConnectionAbortedError("the worker died")
    return reader, writer


async def _tell(send: Send, error: Ended) -> None:
    """The frame that OpenEnv's client raises as an error; then the connection is closed."""
    told = json.dumps({"type": "error", "data": {"message": str(error), "code": error.code}})
    with suppress(*_UNREACHABLE):
        await send({"type": "websocket.send", "text": told})
        await send({"type": "websocket.close", "code": 1001})


def _error(outcome: Outcome) -> ProfileGymError | None:
    """Why a worker does not take sessions."""
    if outcome.died is not None:
        return FleetError(f"worker {outcome.worker} died: {outcome.died}")
    return None if outcome.report is None else error_of(*outcome.report)
