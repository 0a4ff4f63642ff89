"""Runs the call of a tool that an episode waits for."""

from time import perf_counter

from ..action import Malformed
from ..episode import Episode
from .tool import Result


def run_call(episode: Episode) -> Malformed | None:
    """Gives the episode the result of its call; the mistake, if the tool refused an argument.

    Raises `ToolError` where the tool fails.
    """
    result, ms = call_result(episode)
    episode.add_result(result, ms)
    return result if isinstance(result, Malformed) else None


def call_result(episode: Episode) -> tuple[Result | Malformed, float]:
    """The tool's result and its duration in milliseconds. Does not change the episode, so a thread may do this."""
    assert episode.call is not None
    assert episode.tools is not None
    tool, start = episode.tools.tools[episode.call.tool], perf_counter()
    result = tool.result(episode.question.profile, episode.call.arguments)
    return result, 1e3 * (perf_counter() - start)
