"""Native tool calls over `/v1/chat/completions`: what a search found is the result of the call."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...envs.action import TOOLS
from ...envs.trajectory import Segment
from ..turn_format import with_call
from .chat import GO_ON, LOGPROBS, PATH, ROLES, logprobs, turns

__all__ = ["LOGPROBS", "PATH", "body", "logprobs", "read"]


def body(said: Sequence[Segment], stop: Sequence[str]) -> dict[str, Any]:
    """No stop string: the server knows where a call ends."""
    return {"messages": _messages(said), "tools": TOOLS, "tool_choice": "auto", "parallel_tool_calls": False}


def read(choice: Mapping[str, Any], said: Sequence[Segment], stop: Sequence[str]) -> str:
    """The first call counts. Text without one is passed as it is: the environment says what it expected."""
    message = choice["message"]
    text = message.get("content") or ""
    if not message.get("tool_calls"):
        return text
    call = message["tool_calls"][0]["function"]
    return with_call(text, call["name"], _object(call["arguments"]))


def _object(arguments: Any) -> Any:
    """Arguments that are no JSON stay the text they are, for the environment to correct."""
    try:
        return json.loads(arguments)
    except (TypeError, ValueError, RecursionError):
        return arguments


def _messages(said: Sequence[Segment]) -> list[dict[str, Any]]:
    """A call and its result have an id in common: the number of the turn."""
    messages: list[dict[str, Any]] = []
    waiting: dict[str, str] = {}  # the call that the environment's next word answers
    last = len(said) - 1
    for number, (author, text) in enumerate(turns(said)):
        call = _call(text, f"call{number:05}") if author == "policy" and number < last else None
        if call is not None:
            messages.append(call)
            waiting = {"tool_call_id": call["tool_calls"][0]["id"]}
        elif waiting:
            messages.append({"role": "tool", **waiting, "content": text})
            waiting = {}
        else:
            messages.append({"role": ROLES[author], "content": text})
    return messages if said[-1].author == "environment" else [*messages, GO_ON]


def _call(text: str, number: str) -> dict[str, Any] | None:
    """A policy's turn as the native call that it is; None for text, and for calls that no server could read again."""
    before, mark, after = text.partition("<tool_call>")
    thought, written = (before, after) if mark else ("", before)
    try:
        call = json.loads(written.removesuffix("</tool_call>"))
        name, arguments = str(call["name"]), dict(call["arguments"])
    except (TypeError, ValueError, KeyError, RecursionError):
        return None
    function = {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
    calls = [{"id": number, "type": "function", "function": function}]
    return {"role": "assistant", "content": thought.strip() or None, "tool_calls": calls}
