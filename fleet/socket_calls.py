"""Frames over a Unix socket, and calls of an async function by them, any number at a time."""

import asyncio
import os
import pickle
import tempfile
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from struct import Struct
from typing import Any, Self

from .._util.sync import awaiting_plug_in

_LENGTH = Struct("<Q")
_LONGEST = 70  # bytes of a folder for temporary files: the path of a socket has at most 103


def socket_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder of this user's alone, in which the path of a socket is short enough."""
    short = len(os.fsencode(tempfile.gettempdir())) <= _LONGEST
    return tempfile.TemporaryDirectory(prefix="profilegym-", dir=None if short else "/tmp")  # noqa: S108


class Desk:
    """Answers the calls that arrive at a socket. The folder of the socket must be this user's alone."""

    def __init__(self, answer: Callable[[Any], Awaitable[Any]]) -> None:
        self._answer = answer
        self._tasks = set[asyncio.Task[None]]()

    @classmethod
    async def open(cls, path: Path, answer: Callable[[Any], Awaitable[Any]]) -> Self:
        desk = cls(answer)
        desk._server = await asyncio.start_unix_server(desk._serve, path)
        return desk

    async def close(self) -> None:
        """Waits for calls in progress, as they may be paid for."""
        self._server.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    _server: asyncio.Server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (frame := await read_frame(reader)) is not None:
                task = asyncio.create_task(self._reply(writer, *frame))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        finally:
            writer.close()

    async def _reply(self, writer: asyncio.StreamWriter, number: int, asked: Any) -> None:
        try:
            with awaiting_plug_in():
                reply = _framed((number, (True, await self._answer(asked))))
        except Exception as error:
            reply = _framed((number, (False, f"{type(error).__name__}: {error}")))
        if not writer.is_closing():
            writer.write(reply)


class Caller:
    """Calls the function of a `Desk`, from one event loop."""

    def __init__(self, path: Path) -> None:
        self._path, self._numbers = path, count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._connection: asyncio.Task[asyncio.StreamWriter] | None = None
        self._gone: str | None = None  # why no reply arrives any more

    async def __call__(self, asked: Any) -> Any:
        if self._connection is None:
            self._connection = asyncio.create_task(self._connect())
        writer = await asyncio.shield(self._connection)
        if self._gone is not None:
            raise ConnectionError(self._gone)
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            write_frame(writer, (number, asked))
            return await future
        finally:
            del self._waiting[number]

    async def _connect(self) -> asyncio.StreamWriter:
        reader, writer = await asyncio.open_unix_connection(self._path)
        self._reading = asyncio.create_task(self._read_replies(reader))
        return writer

    async def _read_replies(self, reader: asyncio.StreamReader) -> None:
        try:
            while (frame := await read_frame(reader)) is not None:
                self._take(*frame)
            self._gone = "the driver is gone"
        except Exception as error:  # a reply of a class that only the driver knows
            self._gone = f"a reply cannot be read here: {type(error).__name__}: {error}"
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionError(self._gone))

    def _take(self, number: int, reply: tuple[bool, Any]) -> None:
        future, (well, found) = self._waiting.get(number), reply
        if future is None or future.done():
            return
        if well:
            future.set_result(found)
        else:
            future.set_exception(RuntimeError(found))


async def read_frame(reader: asyncio.StreamReader) -> Any:
    """The next frame; None at the end."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        return pickle.loads(await reader.readexactly(length))  # noqa: S301 (from a process of this fleet)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def write_frame(writer: asyncio.StreamWriter, frame: Any) -> None:
    writer.write(_framed(frame))


def _framed(frame: Any) -> bytes:
    data = pickle.dumps(frame)
    return _LENGTH.pack(len(data)) + data
