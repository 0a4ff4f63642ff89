"""What was judged once is not paid for again: replies in SQLite, found by what was asked."""

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

from ..envs.chat import Messages, Sampling
from ..errors import JudgeError

_TABLE = "CREATE TABLE IF NOT EXISTS replies (key BLOB PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID"
_BUSY_SECONDS = 10.0  # how long to wait for another process to finish writing


def key_of(model: str, prompt: str, sampling: Sampling, messages: Messages) -> bytes:
    """The same call has the same key, in every process. `model` says where it is asked, too: `Endpoint.identity`."""
    asked = json.dumps([model, prompt, astuple(sampling), [dict(message) for message in messages]], sort_keys=True)
    return blake2b(asked.encode(), digest_size=32).digest()


class Cache:
    """Safe between threads and processes: a connection for each, and every reply in a transaction of its own."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._mine = threading.local()
        self._opened: list[tuple[threading.Thread, int, sqlite3.Connection]] = []  # with the process that opened it
        self._flying: dict[tuple[asyncio.AbstractEventLoop, bytes], asyncio.Future[str]] = {}
        self._run("SELECT count(*) FROM (SELECT key, text FROM replies LIMIT 1)")

    async def get(self, key: bytes, ask: Callable[[], Awaitable[str]]) -> str:
        """The reply that is known, or on its way, or that `ask` fetches now; a failure is passed on, not kept."""
        flight = asyncio.get_running_loop(), key
        while (known := self.look_up(key)) is None:
            if flight not in self._flying:
                return await self._fetch(flight, ask)
            flying = self._flying[flight]
            await asyncio.wait([flying])
            if not flying.cancelled():  # else whoever asked first was cancelled, and it is the next one's turn
                return flying.result()
        return known

    async def _fetch(self, flight: tuple[asyncio.AbstractEventLoop, bytes], ask: Callable[[], Awaitable[str]]) -> str:
        flying = self._flying[flight] = flight[0].create_future()
        try:
            text = await ask()
            self.store(flight[1], text)
        except Exception as error:
            flying.set_exception(error)
            flying.exception()  # read here, as perhaps nobody else waits for it
            raise
        else:
            flying.set_result(text)
            return text
        finally:
            flying.cancel()  # does nothing to one that is done
            del self._flying[flight]

    def look_up(self, key: bytes) -> str | None:
        rows = self._run("SELECT text FROM replies WHERE key = ?", (key,))
        return rows[0][0] if rows else None

    def store(self, key: bytes, text: str) -> None:
        """What came first stays, so that every process goes on with the same verdict."""
        self._run("INSERT OR IGNORE INTO replies VALUES (?, ?)", (key, text.encode(errors="replace").decode()))

    def __len__(self) -> int:
        return int(self._run("SELECT count(*) FROM replies")[0][0])

    def close(self) -> None:
        """Every thread's connection; a later use opens a new one."""
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
                "name another file, or move this one away if it is damaged"
            ) from error

    def _connection(self) -> sqlite3.Connection:
        """A connection must not cross from one thread to another, nor into a forked process."""
        if getattr(self._mine, "process", None) != os.getpid():
            self._mine.connection, self._mine.process = self._open(), os.getpid()
        connection: sqlite3.Connection = self._mine.connection
        return connection

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, _BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        self._close_those_of_ended_threads()
        self._opened.append((threading.current_thread(), os.getpid(), connection))
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            "PRAGMA synchronous = NORMAL"
        )  # a killed process loses nothing, a power cut the last replies
        connection.execute(_TABLE)
        return connection

    def _close_those_of_ended_threads(self) -> None:
        """What a parent process opened is its own to close."""
        ended = [one for one in self._opened if one[1] == os.getpid() and not one[0].is_alive()]
        for one in ended:
            self._opened.remove(one)
            one[2].close()
