"""Between plain and async code: plain code waits on a background loop, and works in a thread beside any loop."""

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")
PATIENCE = 5.0  # seconds for everything to close when the process ends


def wait(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it to its end, on one loop that lives as long as the process: connections outlast a call."""
    return _started().run(coroutine)


async def in_thread(work: Callable[..., T], *arguments: object) -> T:
    """Call plain code that may take long while the loop goes on; one call at a time, as it need not be thread-safe."""
    if _in_turn.get():  # called by such work, which waits for it
        return await asyncio.to_thread(work, *arguments)
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        token = _in_turn.set(True)
        try:
            return await asyncio.to_thread(work, *arguments)
        finally:
            _in_turn.reset(token)


class _Background:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="profilegym-waiting", daemon=True)
        self._thread.start()
        atexit.register(self._end)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Whoever stops waiting, as with Ctrl-C, ends the work too."""
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError(
                "the background event loop cannot wait for itself: code that it runs, as an async reward, must await "
                "what is async, and not step an environment or call rewards_of"
            )
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _end(self) -> None:
        if not self._thread.is_alive():  # it stayed behind when this process was forked
            return
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._finish(), self.loop).result(PATIENCE)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)

    async def _finish(self) -> None:
        """Nobody waits any more for what is under way; then connections close, as they do when any loop shuts down."""
        under_way = asyncio.all_tasks() - {asyncio.current_task()}
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await self.loop.shutdown_asyncgens()


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
_in_turn = ContextVar("in_turn", default=False)
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
