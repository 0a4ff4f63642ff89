"""Runs the call of a tool that an episode waits for."""

import asyncio
from collections.abc import Mapping
from time import perf_counter
from typing import Any

from ..action import Malformed
from ..episode import Episode
from .tool import Result, Tool


def run_call(episode: Episode) -> Malformed | None:
    """Gives the episode the result of its call; the mistake, if the tool refused an argument.

    Raises `ToolError` where the tool fails.
    """
    start = perf_counter()
    tool, arguments = _called(episode)
    return _add(episode, tool.result(episode.question.profile, arguments), start)


async def run_call_async(episode: Episode) -> Malformed | None:
    """As `run_call`, without blocking the event loop: a coroutine function is awaited, another runs in a thread."""
    start = perf_counter()
    tool, arguments = _called(episode)
    profile = episode.question.profile
    if tool.is_async:
        return _add(episode, await tool.result_async(profile, arguments), start)
    return _add(episode, await asyncio.to_thread(tool.result, profile, arguments), start)


def _called(episode: Episode) -> tuple[Tool, Mapping[str, Any]]:
    assert episode.call is not None
    assert episode.tools is not None
    return episode.tools.tools[episode.call.tool], episode.call.arguments


def _add(episode: Episode, result: Result | Malformed, start: float) -> Malformed | None:
    episode.add_result(result, 1e3 * (perf_counter() - start))
    return result if isinstance(result, Malformed) else None
