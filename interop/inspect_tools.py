"""An attempt in Inspect: its tools for agents, its turns and its end."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from inspect_ai.model import ModelOutput
from inspect_ai.tool import ToolDef, ToolParams

from ..agents.models.openai_formats import closing_tag
from ..envs.trajectory import Trajectory
from .driver import Attempt

_OVER = "The conversation is over."


def tools_of(tools: Iterable[Mapping[str, Any]], current: Callable[[], Attempt]) -> list[ToolDef]:
    """The tools of a sample's attempt, which is `current`. An agent answers by `answer` or by its own submission."""
    return [_tool(tool["function"], current) for tool in tools]


def _tool(function: Mapping[str, Any], current: Callable[[], Attempt]) -> ToolDef:
    async def execute(**kwargs: Any) -> str:
        attempt = current()
        if attempt.done:
            return _OVER
        return (await attempt.call_async(function["name"], kwargs)).strip() or _OVER

    parameters = ToolParams.model_validate(function["parameters"])
    return ToolDef(execute, function["name"], function["description"], parameters)


def closed(text: str, attempt: Attempt) -> str:
    """The turn with the tag that providers leave out, as it stopped the model."""
    return text + closing_tag(text, attempt.stops)


async def concluded(attempt: Attempt, output: ModelOutput) -> Trajectory:
    """The record, scored. What an agent wrote last is its answer; an attempt that a limit cut off is truncated."""
    ours = {tool["function"]["name"] for tool in attempt.tools}
    calls = output.message.tool_calls if output.choices else None
    calling = any(call.function in ours for call in calls or ())  # an agent's submission is a call of its own
    completion = "" if calling else output.completion  # text beside a call answers nothing
    if attempt.episode.needs == "text" and attempt.episode.protocol == "tools" and completion:
        await attempt.call_async("answer", {"text": completion})
    attempt.stop()
    await attempt.outcome_async()
    return attempt.trajectory()
