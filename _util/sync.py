"""Runs coroutines from synchronous code on one background event loop, and synchronous code in threads of a loop."""

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")
SHUTDOWN_SECONDS = 5.0  # to close everything when the process exits


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end. The loop lives as long as the process, so connections outlast a call."""
    return _background_loop().run(coroutine)


def in_background(coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Starts a coroutine on the background loop, from any thread, and gives the future of its result."""
    return asyncio.run_coroutine_threadsafe(coroutine, _background_loop().loop)


async def on_background_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Awaits, in any event loop, a coroutine that the background loop runs with the connections that it keeps."""
    return await asyncio.wrap_future(in_background(coroutine))


@contextmanager
def awaiting_plug_in() -> Iterator[None]:
    """A cancellation that begins inside the plug-in is its error; a cancellation of the current task stays one."""
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise RuntimeError("something that it awaits was cancelled") from error


async def to_thread(work: Callable[..., T], *arguments: object) -> T:
    """As `asyncio.to_thread`, for functions that may raise StopIteration: a future cannot hold it, and never ends."""
    return await asyncio.to_thread(_without_stop_iteration, work, *arguments)


def _without_stop_iteration(work: Callable[..., T], *arguments: object) -> T:
    try:
        return work(*arguments)
    except StopIteration as error:
        raise RuntimeError("it raised StopIteration, as next() does where there is no next item") from error


async def in_thread(work: Callable[..., T], *arguments: object) -> T:
    """Calls a slow synchronous function in a thread. Each loop runs one at a time, as it may not be thread-safe."""
    if _inside.get():  # called by such a function, which waits for this call
        return await to_thread(work, *arguments)
    async with _locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        token = _inside.set(True)
        try:
            return await to_thread(work, *arguments)
        finally:
            _inside.reset(token)


class _BackgroundLoop:
    """An event loop in its own thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="profilegym-sync", daemon=True)
        self._thread.start()
        atexit.register(self._shut_down)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """An interrupted caller, as by Ctrl-C, cancels the coroutine."""
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError(
                "the background event loop cannot wait for itself: an async reward that it runs must await async code "
                "directly, and not step an environment or call rewards_of"
            )
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _shut_down(self) -> None:
        if not self._thread.is_alive():  # this process was forked, and a fork does not copy the thread
            return
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._cancel_all(), self.loop).result(SHUTDOWN_SECONDS)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(SHUTDOWN_SECONDS)

    async def _cancel_all(self) -> None:
        """Cancels what still runs. Then closes the async generators, which close their connections."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.loop.shutdown_asyncgens()


_locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
_inside = ContextVar("inside", default=False)  # whether the caller runs inside `in_thread`
_background: _BackgroundLoop | None = None
_starting = threading.Lock()


def _background_loop() -> _BackgroundLoop:
    global _background
    with _starting:
        if _background is None:
            _background = _BackgroundLoop()
        return _background


def _reset_after_fork() -> None:
    global _background
    _background = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
