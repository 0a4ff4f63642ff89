"""Request formats of OpenAI-compatible endpoints: raw completions, chat messages, native tool calls."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, takewhile
from typing import Any, Literal

from ...envs.action import TOOLS
from ...envs.trajectory import Author, Segment
from ..turn_format import with_call

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

    def logprobs(self, record: Mapping[str, Any]) -> list[float]:
        return list(record["token_logprobs"])


class Chat:
    """`/v1/chat/completions`: the policy is the assistant, the environment the user.

    Only `content` is read: where a server separates the reasoning from it, the reasoning is not in the transcript.
    """

    path = "/chat/completions"
    logprobs_option: int = True

    def body(self, segments: Sequence[Segment], stop: Sequence[str], tools: Tools = TOOLS) -> dict[str, Any]:
        messages = [{"role": _ROLES[author], "content": text} for author, text in _messages(segments)]
        if segments[-1].author == "policy":
            messages.append(_CONTINUE)
        return {"messages": messages, **({"stop": list(stop)} if stop else {})}

    def text(self, choice: Mapping[str, Any], segments: Sequence[Segment], stop: Sequence[str]) -> str:
        return _with_stop(choice["message"].get("content") or "", choice, stop, _prefix(segments))

    def logprobs(self, record: Mapping[str, Any]) -> list[float]:
        return [token["logprob"] for token in record["content"]]


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
    """Native tool calls over `/v1/chat/completions`: an observation is the result of a call."""

    def body(self, segments: Sequence[Segment], stop: Sequence[str], tools: Tools = TOOLS) -> dict[str, Any]:
        """Without stop strings: the server knows where a call ends."""
        messages = _tool_messages(segments)
        return {"messages": messages, "tools": list(tools), "tool_choice": "auto", "parallel_tool_calls": False}

    def text(self, choice: Mapping[str, Any], segments: Sequence[Segment], stop: Sequence[str]) -> str:
        """Only the first call counts. Text without a call is returned as it is; the environment corrects the model."""
        message = choice["message"]
        text = message.get("content") or ""
        if not message.get("tool_calls"):
            return text
        call = message["tool_calls"][0]["function"]
        return with_call(text, call["name"], _parsed(call["arguments"]))


FORMATS: dict[FormName, Completions | Chat] = {
    "completions": Completions(),
    "chat": Chat(),
    "continued": ContinuedChat(),
    "tools": ToolCalls(),
}


def _messages(segments: Sequence[Segment]) -> Iterator[tuple[Author, str]]:
    """Author and text of each message; consecutive segments of one author are one message."""
    for author, group in groupby(segments, key=lambda segment: segment.author):
        yield author, "".join(segment.text for segment in group).strip()


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
    return text + _closing_tag(prefix + text, stop)


def _closing_tag(text: str, stop: Sequence[str]) -> str:
    """Closes the tag that was opened last, if it is open."""
    opened_at, closing = max(((text.rfind(one.replace("/", "", 1)), one) for one in stop), default=(-1, ""))
    return closing if opened_at > text.rfind(closing) else ""


def _tool_messages(segments: Sequence[Segment]) -> list[dict[str, Any]]:
    """A call and its result share an id, the number of the message."""
    messages: list[dict[str, Any]] = []
    call_id: str | None = None  # of the call that the next observation answers
    last = len(segments) - 1
    for number, (author, text) in enumerate(_messages(segments)):
        call = _call_message(text, f"call{number:05}") if author == "policy" and number < last else None
        if call is not None:
            messages.append(call)
            call_id = call["tool_calls"][0]["id"]
        elif call_id is not None:
            messages.append({"role": "tool", "tool_call_id": call_id, "content": text})
            call_id = None
        else:
            messages.append({"role": _ROLES[author], "content": text})
    return messages if segments[-1].author == "environment" else [*messages, _CONTINUE]


def _call_message(text: str, call_id: str) -> dict[str, Any] | None:
    """A policy's turn as a native call; None for text, and for calls that a server could not parse."""
    before, mark, after = text.partition("<tool_call>")
    thought, written = (before, after) if mark else ("", before)
    try:
        call = json.loads(written.removesuffix("</tool_call>"))
        name, arguments = str(call["name"]), dict(call["arguments"])
    except (TypeError, ValueError, KeyError, RecursionError):
        return None
    function = {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
    calls = [{"id": call_id, "type": "function", "function": function}]
    return {"role": "assistant", "content": thought.strip() or None, "tool_calls": calls}


def _parsed(arguments: Any) -> Any:
    """Arguments that are not JSON stay text, for the environment to correct."""
    try:
        return json.loads(arguments)
    except (TypeError, ValueError, RecursionError):
        return arguments
