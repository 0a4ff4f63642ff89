"""A fake OpenAI-compatible server that acts as a judge, with scripted faults."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from .fake_server import Body, Fault, LoopbackServer

VERDICT = {"reason": "the answer says so", "match": 2}


class JudgeServer(LoopbackServer):
    """Replies with `verdict`, a value or a function of the body; text and None are sent as is, others as JSON.

    `structured=False` rejects `response_format` with a 400. The other options are those of `LoopbackServer`.
    """

    paths = ("/chat/completions",)

    def __init__(
        self,
        verdict: Callable[[Body], Any] | Mapping[str, Any] | str = VERDICT,
        *,
        structured: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.verdict, self.structured = verdict, structured

    def _refused(self, path: str, body: Body) -> tuple[int, str] | None:
        if "response_format" in body and not self.structured:
            return 400, "response_format is not supported"
        return None

    def _said(self, path: str, body: Body, fault: Fault | None) -> Body:
        return _completion(body, self._content(body, fault))

    def _content(self, body: Body, fault: Fault | None) -> str | None:
        verdict = self.verdict(body) if callable(self.verdict) else self.verdict
        text = verdict if isinstance(verdict, str | None) else json.dumps(verdict)
        if fault is Fault.WRONG_SCHEMA:
            return json.dumps({"something": "else"})
        return text[: len(text) // 2] if text and fault is Fault.MALFORMED else text


def _completion(body: Body, content: str | None) -> Body:
    message = {"role": "assistant", "content": content}
    prompt, completion = sum(len(m["content"]) for m in body["messages"]) // 4, len(content or "") // 4
    return {
        "id": "judged",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
    }
