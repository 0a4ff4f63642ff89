"""A fake OpenAI-compatible server that acts as a policy, in the manner of several servers."""

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Literal

from .fake_server import Body, Fault, LoopbackServer

CHARACTERS_A_TOKEN = 4
Form = Literal["completions", "chat", "tools"]
Manner = Literal["openai", "vllm", "transformers"]
Said = Sequence[tuple[str, str]]  # the conversation so far: role and text


class PolicyServer(LoopbackServer):
    """Replies with what `policy` returns for the conversation so far; a raw prompt is one text without a role.

    The policy writes as in an episode. Where a request offers tools, each `<tool_call>` is sent as a native call.
    `speaks` are the forms that are served: others get a 404, tools a 400. By `manner`, a reply leaves out the stop
    string (openai), leaves it out and names it (vllm), or keeps it (transformers). The other options are those of
    `LoopbackServer`.
    """

    paths = ("/completions", "/chat/completions")

    def __init__(
        self,
        policy: Callable[[Said], str],
        *,
        speaks: Collection[Form] = ("completions", "chat", "tools"),
        manner: Manner = "openai",
        context: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.policy, self.speaks, self.manner, self.context = policy, speaks, manner, context

    def _refused(self, path: str, body: Body) -> tuple[int, str] | None:
        if ("completions" if path == "/completions" else "chat") not in self.speaks:
            return 404, f"there is no {path} on this server"
        if "tools" in body and "tools" not in self.speaks:
            return 400, "tools are not supported"
        if not _calls_have_results(body.get("messages", [])):
            return 400, "each call of a tool must be followed by its result"
        return None

    def _said(self, path: str, body: Body, fault: Fault | None) -> Body:
        if fault in (Fault.MALFORMED, Fault.WRONG_SCHEMA):
            return {"something": "else"}
        said = [("", body["prompt"])] if path == "/completions" else _conversation(body["messages"])
        read = _tokens(text for _, text in said)
        text = self.policy(said)
        calls = _native_calls(text) if "tools" in body else None
        choice: Body = {"finish_reason": "tool_calls", "text": None} if calls else self._ended(text, body, read)
        wrote = _tokens([text if calls else choice["text"]])
        if body.get("logprobs"):
            choice["logprobs"] = {"token_logprobs": [-0.5] * wrote, "content": [{"logprob": -0.5}] * wrote}
        if path != "/completions":
            choice["message"] = {"role": "assistant", "content": choice.pop("text"), "tool_calls": calls}
        usage = {"prompt_tokens": read, "completion_tokens": wrote, "total_tokens": read + wrote}
        return {
            "id": "played",
            "object": "text_completion" if path == "/completions" else "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, **choice}],
            "usage": usage,
        }

    def _ended(self, text: str, body: Body, read: int) -> Body:
        """The text up to the first stop string or the token limit."""
        most = body.get("max_tokens") or body["max_completion_tokens"]
        room = min(most, (self.context or float("inf")) - read) * CHARACTERS_A_TOKEN
        places = [(place, stop) for stop in body.get("stop", ()) if (place := text.find(stop)) >= 0]
        place, stop = min(places, default=(len(text), ""))
        if place > room:
            return {"text": text[: int(room)], "finish_reason": "length"}
        named = {"stop_reason": stop or None} if self.manner == "vllm" else {}
        return {"text": text[:place] + stop * (self.manner == "transformers"), "finish_reason": "stop", **named}


def _tokens(texts: Iterable[str]) -> int:
    return sum(map(len, texts)) // CHARACTERS_A_TOKEN


def _conversation(messages: Sequence[Body]) -> list[tuple[str, str]]:
    return [(message["role"], message["content"] or "") for message in messages]


def _calls_have_results(messages: Sequence[Body]) -> bool:
    """Whether every call is followed by its result, in order, and every result has a call."""
    waiting: list[str] = []
    for message in messages:
        if (message["role"] == "tool") != bool(waiting) or (waiting and message.get("tool_call_id") != waiting.pop(0)):
            return False
        waiting += [call["id"] for call in message.get("tool_calls") or ()]
    return not waiting


def _native_calls(text: str) -> list[Body] | None:
    """Arguments that are a text are sent as they stand: a model may write what is no JSON."""
    _, *written = text.split("<tool_call>")
    calls = [json.loads(call.strip().removesuffix("</tool_call>")) for call in written]
    return [_native_call(place, call["name"], call["arguments"]) for place, call in enumerate(calls)] or None


def _native_call(place: int, name: str, arguments: Any) -> Body:
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": f"server-{place}", "type": "function", "function": {"name": name, "arguments": written}}
