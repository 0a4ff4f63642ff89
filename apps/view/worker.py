"""Where games are played: a thread with an event loop of its own, so that pages are served while a model thinks."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")
_PATIENCE = 1.0  # seconds, for a model that is in the middle of a turn when the server ends


class Stage:
    """Open while the server runs."""

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
            await asyncio.to_thread(thread.join, _PATIENCE)
            if not thread.is_alive():
                self._loop.close()

    async def play(self, part: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(part, self._loop))
