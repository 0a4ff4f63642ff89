"""For code that is not async and has to wait for something that is."""

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar
from weakref import finalize

T = TypeVar("T")
Close = Callable[[], Coroutine[Any, Any, None]]
PATIENCE = 5.0  # seconds for everything to close when the process ends


def wait(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it to its end, on one loop that lives as long as the process: connections outlast a call."""
    return _started().run(coroutine)


def close_later(owner: object, close: Close) -> None:
    """Called on that loop, where nobody says when to close: do so when the owner is gone or the process ends."""
    if _background is not None and asyncio.get_running_loop() is _background.loop:
        _background.close_later(owner, close)


class _Background:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="profilegym-waiting", daemon=True)
        self._closers: list[finalize[[], Any]] = []
        self._thread.start()
        atexit.register(self._end)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Whoever stops waiting, as with Ctrl-C, ends the work too."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close_later(self, owner: object, close: Close) -> None:
        closer = finalize(owner, lambda: asyncio.run_coroutine_threadsafe(close(), self.loop))
        self._closers = [*(one for one in self._closers if one.alive), closer]

    def _end(self) -> None:
        if not self._thread.is_alive():  # it stayed behind when this process was forked
            return
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._finish(), self.loop).result(PATIENCE)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)

    async def _finish(self) -> None:
        """Nobody waits any more for what is under way; then everything closes."""
        under_way = asyncio.all_tasks() - {asyncio.current_task()}
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        closing = [closer() for closer in self._closers]
        await asyncio.gather(*(asyncio.wrap_future(one) for one in closing if one), return_exceptions=True)


_background: _Background | None = None
_starting = threading.Lock()


def _started() -> _Background:
    global _background
    with _starting:
        if _background is None:
            _background = _Background()
        return _background


def _forget() -> None:
    """A forked process has the loop, but not the thread that runs it."""
    global _background
    _background = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
