"""A cache of an evaluator's replies in SQLite, keyed by the request."""

import asyncio
import json
import os
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import astuple
from hashlib import blake2b
from pathlib import Path

from .._util.sqlite import write_ahead
from ..envs.chat import Messages, Sampling
from ..errors import JudgeError

_TABLE = "CREATE TABLE IF NOT EXISTS replies (key BLOB PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID"
_BUSY_SECONDS = 10.0  # how long to wait while another process writes


def key_of(model: str, prompt: str, sampling: Sampling, messages: Messages) -> bytes:
    """The same for the same request, in every process. `model` includes the endpoint: `Endpoint.identity`."""
    asked = json.dumps([model, prompt, astuple(sampling), [dict(message) for message in messages]], sort_keys=True)
    return blake2b(asked.encode(), digest_size=32).digest()


class Cache:
    """Safe between threads and processes: one connection each, one transaction per reply."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._mine = threading.local()
        self._opened: list[tuple[threading.Thread, int, sqlite3.Connection]] = []  # with thread and process
        self._in_flight: dict[tuple[asyncio.AbstractEventLoop, bytes], asyncio.Future[str]] = {}
        self._run("SELECT count(*) FROM (SELECT key, text FROM replies LIMIT 1)")

    async def get(self, key: bytes, ask: Callable[[], Awaitable[str]]) -> str:
        """A known reply, one already being fetched, or one fetched by `ask`; failures are raised, not cached."""
        request = asyncio.get_running_loop(), key
        while (known := self.look_up(key)) is None:
            if request not in self._in_flight:
                return await self._fetch(request, ask)
            future = self._in_flight[request]
            await asyncio.wait([future])
            if not future.cancelled():  # else the first caller was cancelled: try again
                return future.result()
        return known

    async def _fetch(self, request: tuple[asyncio.AbstractEventLoop, bytes], ask: Callable[[], Awaitable[str]]) -> str:
        future = self._in_flight[request] = request[0].create_future()
        try:
            text = await ask()
            self.store(request[1], text)
        except Exception as error:
            future.set_exception(error)
            future.exception()  # marks it as retrieved, as there may be no other waiter
            raise
        else:
            future.set_result(text)
            return text
        finally:
            future.cancel()  # no effect once done
            del self._in_flight[request]

    def look_up(self, key: bytes) -> str | None:
        rows = self._run("SELECT text FROM replies WHERE key = ?", (key,))
        return rows[0][0] if rows else None

    def store(self, key: bytes, text: str) -> None:
        """Keeps the first reply, so that every process has the same verdict."""
        self._run("INSERT OR IGNORE INTO replies VALUES (?, ?)", (key, text.encode(errors="replace").decode()))

    def __len__(self) -> int:
        return int(self._run("SELECT count(*) FROM replies")[0][0])

    def close(self) -> None:
        """Closes all connections; a later use opens a new one."""
        self._mine = threading.local()
        while self._opened:
            with suppress(sqlite3.Error):
                self._opened.pop()[2].close()

    def _run(self, statement: str, values: Sequence[bytes | str] = ()) -> list[tuple[str, ...]]:
        try:
            return self._connection().execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise JudgeError(
                f"the judge's cache {str(self.path)!r} cannot be used: {error}; "
                "name another file, or move this one if it is damaged"
            ) from error

    def _connection(self) -> sqlite3.Connection:
        """This thread's connection: SQLite allows none across threads or forks."""
        if getattr(self._mine, "process", None) != os.getpid():
            self._mine.connection, self._mine.process = self._open(), os.getpid()
        connection: sqlite3.Connection = self._mine.connection
        return connection

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, _BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        self._close_those_of_ended_threads()
        self._opened.append((threading.current_thread(), os.getpid(), connection))
        write_ahead(connection, _BUSY_SECONDS)
        connection.execute(
            "PRAGMA synchronous = NORMAL"
        )  # a killed process loses nothing, a power cut the last replies
        connection.execute(_TABLE)
        return connection

    def _close_those_of_ended_threads(self) -> None:
        """Leaves connections of a parent process to it."""
        ended = [one for one in self._opened if one[1] == os.getpid() and not one[0].is_alive()]
        for one in ended:
            with suppress(ValueError):  # another thread was first
                self._opened.remove(one)
                one[2].close()
