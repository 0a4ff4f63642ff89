"""Plays games on an event loop in another thread, so that pages are served while a model generates."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")
_TIMEOUT = 1.0  # seconds that the end of the server waits for a model that is generating


class BackgroundLoop:
    """An event loop in a thread, open while the server runs."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        thread = Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            await asyncio.to_thread(thread.join, _TIMEOUT)
            if not thread.is_alive():
                self._loop.close()

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._loop))
