"""Request formats of OpenAI-compatible endpoints: raw completions, chat messages, native tool calls."""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import groupby, takewhile, zip_longest
from typing import Any, Literal

from ...envs.action import TOOLS
from ...envs.text import well_formed
from ...envs.trajectory import Segment
from ..turn_format import with_calls
from .call_forms import read_tagged
from .tool_chat import without_tools_as_text

FormName = Literal["auto", "completions", "chat", "continued", "tools"]
Tools = Sequence[Mapping[str, Any]]  # in the form that chat models take
_ROLES = {"policy": "assistant", "environment": "user"}
_CONTINUE = {"role": "user", "content": "Go on from there."}  # not every API can continue an assistant message


class Completions:
    """`/v1/completions`: the model continues the text of the transcript."""

    path = "/completions"
    logprobs_option: int = 1

    def body(self, segments: Sequence[Segment], stop: Sequence[str], tools: Tools = TOOLS) -> dict[str, Any]:
        prompt = "".join(segment.text for segment in segments)
        return {"prompt": prompt, **({"stop": list(stop)} if stop else {})}

    def text(self, choice: Mapping[str, Any], segments: Sequence[Segment], stop: Sequence[str]) -> str:
        return _with_stop(choice["text"], choice, stop, _prefix(segments))

    def logprobs(self, record: Mapping[str, Any]) -> list[float] | None:
        return list(record["token_logprobs"])


class Chat:
    """`/v1/chat/completions`: the policy is the assistant, the environment the user.

    Only `content` is read: where a server separates the reasoning from it, the reasoning is not in the transcript.
    """

    path = "/chat/completions"
    logprobs_option: int = True

    def body(self, segments: Sequence[Segment], stop: Sequence[str], tools: Tools = TOOLS) -> dict[str, Any]:
        return {"messages": _to_go_on(messages_of(segments)), **({"stop": list(stop)} if stop else {})}

    def text(self, choice: Mapping[str, Any], segments: Sequence[Segment], stop: Sequence[str]) -> str:
        return _with_stop(content_text(choice["message"].get("content")) or "", choice, stop, _prefix(segments))

    def logprobs(self, record: Mapping[str, Any]) -> list[float] | None:
        """None of a reply without content, such as a native call."""
        return None if record["content"] is None else [token["logprob"] for token in record["content"]]


class ContinuedChat(Chat):
    """`/v1/chat/completions` of a server that continues the assistant's message, as vLLM and SGLang do.

    All that follows the question stands inside the assistant's message: the server's chat template makes of it the
    prompt that a local model reads (`tokenize.py`).
    """

    def body(self, segments: Sequence[Segment], stop: Sequence[str], tools: Tools = TOOLS) -> dict[str, Any]:
        messages = [{"role": "user", "content": segments[0].text}]
        begun = "".join(segment.text for segment in segments[1:])
        found: dict[str, Any] = {"messages": messages, **({"stop": list(stop)} if stop else {})}
        if begun:
            messages.append({"role": "assistant", "content": begun})
            found |= {"continue_final_message": True, "add_generation_prompt": False}
        return found


class ToolCalls(Chat):
    """Native tool calls over `/v1/chat/completions`: an observation is the result of a call.

    With several tools, a turn may hold several calls.
    """

    def body(self, segments: Sequence[Segment], stop: Sequence[str], tools: Tools = TOOLS) -> dict[str, Any]:
        """Without stop strings: the server knows where a call ends."""
        messages = _to_go_on(tool_messages_of(segments))
        several = tools is not TOOLS
        return {"messages": messages, "tools": list(tools), "tool_choice": "auto", "parallel_tool_calls": several}

    def text(self, choice: Mapping[str, Any], segments: Sequence[Segment], stop: Sequence[str]) -> str:
        """With one search tool, only the first call counts. Text without a call is corrected by the environment."""
        message = choice["message"]
        text = content_text(message.get("content")) or ""
        if not message.get("tool_calls"):
            return text
        functions = [call["function"] for call in message["tool_calls"]]
        return with_calls(text, [(one["name"], _parsed(one["arguments"]), None) for one in functions])


def content_text(content: object) -> str | None:
    """The text of a message's content, which may be a list of parts; reasoning among these is left out."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else None
    parts = (part for part in content if isinstance(part, Mapping) and part.get("type") == "text")
    return "".join(str(part.get("text") or "") for part in parts) or None


FORMATS: dict[FormName, Completions | Chat] = {
    "completions": Completions(),
    "chat": Chat(),
    "continued": ContinuedChat(),
    "tools": ToolCalls(),
}


def messages_of(segments: Sequence[Segment]) -> list[dict[str, Any]]:
    """A transcript as chat messages; consecutive segments of one author are one message."""
    return [
        {"role": _ROLES[author], "content": "".join(segment.text for segment in group).strip()}
        for author, group in groupby(segments, key=lambda segment: segment.author)
    ]


def _to_go_on(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A conversation that the assistant is to continue."""
    return [*messages, _CONTINUE] if messages[-1]["role"] == "assistant" else messages


def _prefix(segments: Sequence[Segment]) -> str:
    """The beginning of the policy's turn, where the request already contains it."""
    own = takewhile(lambda segment: segment.author == "policy", reversed(segments))
    return "".join(reversed([segment.text for segment in own]))


def _with_stop(text: str, choice: Mapping[str, Any], stop: Sequence[str], prefix: str) -> str:
    """Appends the stop string that ended the text, as servers leave it out.

    vLLM reports it as `stop_reason`. Elsewhere "stop" may mean a stop string or the end of the text: then the tag that
    is open is closed.
    """
    if choice.get("finish_reason") != "stop" or any(one in text for one in stop):
        return text
    if "stop_reason" in choice:  # None or a token id: the model ended the text itself
        return text + choice["stop_reason"] if choice["stop_reason"] in stop else text
    return text + closing_tag(prefix + text, stop)


def closing_tag(text: str, stop: Sequence[str]) -> str:
    """Closes the tag that was opened last, if it is open. It may have attributes, as an answer that cites."""
    opened = ((found.start(), one) for one in stop for found in _opening(one).finditer(text))
    opened_at, closing = max(opened, default=(-1, ""))
    return closing if opened_at > text.rfind(closing) else ""


@cache
def _opening(closing: str) -> re.Pattern[str]:
    return re.compile(rf"<\s*+{re.escape(closing.strip('</>'))}(?:\s[^<>]*+)?+>", re.IGNORECASE)


def tool_messages_of(segments: Sequence[Segment]) -> list[dict[str, Any]]:
    """A transcript as chat messages for a model that is given the tools apart from them.

    A call and its result share an id, made of the numbers of the message and of the call.
    """
    messages: list[dict[str, Any]] = []
    parts = [list(group) for _, group in groupby(segments, key=lambda segment: segment.author)]
    waiting: list[str] = []  # ids of the calls that the next results answer
    for number, (part, after) in enumerate(zip_longest(parts, parts[1:])):
        author, texts = part[0].author, [segment.text for segment in part]
        text = "".join(texts).strip()
        call = _call_message(text, number, len(after)) if author == "policy" and after else None
        if call is not None:
            messages.append(call)
            waiting = [one["id"] for one in call["tool_calls"]]
        elif waiting:
            for call_id, result in zip(waiting, texts, strict=True):
                messages.append({"role": "tool", "tool_call_id": call_id, "content": result.strip()})
            waiting = []
        else:
            messages.append({"role": _ROLES[author], "content": text})
    messages[0]["content"] = without_tools_as_text(messages[0]["content"])
    return messages


def _call_message(text: str, number: int, results: int) -> dict[str, Any] | None:
    """A policy's turn as native calls; None for text, and for calls that a server could not parse.

    Calls without a result are left out: an API wants one for each.
    """
    turn = read_tagged(text if "<tool_call>" in text else f"<tool_call>{text}")
    if turn is None or len(turn.calls) < results or not all(isinstance(one.arguments, Mapping) for one in turn.calls):
        return None
    calls = [
        {
            "id": f"call{number:05}" if place == 0 else f"call{number:02}x{place:02}",
            "type": "function",
            "function": {
                "name": well_formed(call.name),
                "arguments": well_formed(json.dumps(dict(call.arguments), ensure_ascii=False)),
            },
        }
        for place, call in enumerate(turn.calls[:results])
    ]
    return {"role": "assistant", "content": turn.thought or None, "tool_calls": calls}


def _parsed(arguments: Any) -> Any:
    """Arguments that are not JSON stay text, for the environment to correct."""
    try:
        return json.loads(arguments)
    except (TypeError, ValueError, RecursionError):
        return arguments
