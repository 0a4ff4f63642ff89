"""Errors of endpoint calls: retryable, permanent with advice, or about a request field that is not supported."""

import email.utils
import json
import re
import time
from collections.abc import Collection, Mapping
from typing import Any

from ..._util.terminal import printable
from ...errors import EndpointError

ADVICE = {
    400: "the endpoint rejects the request: check the model name, max_tokens and the prompt length",
    401: "the key is refused: set OPENAI_API_KEY, or VLLM_API_KEY for vllm:URL, to a key of this endpoint",
    403: "the key may not use this model: use another key or model",
    404: "no such model or path: check the model name and the end of the base URL (often /v1)",
    422: "the endpoint rejects the request: check the model name, max_tokens and the prompt length",
    501: "the endpoint does not support this: use another form or another endpoint",
}
LONGEST_REASON = 500  # characters of what a server says, which may be a whole page
TRY_AGAIN = {408, 409, 425, 429}
SCHEMA = "response_format"  # the field of a JSON schema
# OpenAI's reasoning models reject each of these; a reply without it is still usable.
OPTIONAL = ("temperature", "top_p", "seed", "stop", "parallel_tool_calls", SCHEMA)
OTHER_NAME = {"max_tokens": "max_completion_tokens"}  # the older name, which other servers support, is tried first
_NOT_TAKEN = re.compile(r"support|unknown|unrecogni[sz]ed|unexpected|extra|permitted|allowed|deprecated", re.IGNORECASE)


class Retryable(EndpointError):
    """A failure that may not recur. `pause` is the wait that the endpoint asked for, in seconds."""

    def __init__(self, what: str, *, pause: float = 0.0, busy: bool = False) -> None:
        super().__init__(what)
        self.pause = pause
        self.busy = busy  # reachable, but overloaded by our requests


class Permanent(EndpointError):
    """A failure that would recur."""


def failure(error: Exception, timeout: float) -> Retryable | Permanent:
    """Converts an error of the client, whose exceptions contain the request and with it the API key."""
    import openai

    match error:
        case Retryable() | Permanent():
            return error
        case TimeoutError():
            return Retryable(f"no reply within {timeout:g} s")
        case openai.APIStatusError():
            return _refusal(error.status_code, error.body, error.response.headers)
        case openai.APIConnectionError():
            return Retryable(f"the connection failed ({type(error.__cause__ or error).__name__})")
        case _:
            return Retryable(f"the reply cannot be read ({type(error).__name__}: {error})")


def without(body: Mapping[str, Any], refused: Collection[str]) -> dict[str, Any]:
    """The body without refused fields, or with their other name."""
    if not refused:
        return dict(body)
    kept = {name: value for name, value in body.items() if name not in refused}
    renamed = {OTHER_NAME[name]: body[name] for name in refused if name in OTHER_NAME and name in body}
    return {**renamed, **kept}


def refused_field(error: Exception, body: Mapping[str, Any], schema_known: bool) -> str | None:
    """The field to leave out or rename; None where that would not help.

    An error that names no field may mean the schema, unless the endpoint is known to accept one.
    """
    if getattr(error, "status_code", None) not in (400, 422):
        return None
    named = _named(error, [name for name in (*OTHER_NAME, *OPTIONAL) if name in body])
    if named is None and SCHEMA in body and not schema_known:
        return SCHEMA
    return named


def notice(field: str) -> str:
    """The effect of leaving a field out, for the log."""
    if field in OTHER_NAME:
        return f"{OTHER_NAME[field]} is sent instead"
    if field == "temperature":
        return "it is left out, so replies are sampled at the model's own temperature and differ from call to call"
    return "it is left out"


def reply_error(answer: object) -> Retryable | Permanent | None:
    """The error that a reply holds in place of a choice, as gateways send it with HTTP 200."""
    if not isinstance(answer, Mapping) or answer.get("choices") or not answer.get("error"):
        return None
    error = answer["error"] if isinstance(answer["error"], dict) else {"message": answer["error"]}
    code = error.get("code")
    return _refusal(code if isinstance(code, int) and 400 <= code < 600 else 502, error, {}, "the reply is an error")


def _refusal(status: int, body: object, headers: Mapping[str, str], said: str = "") -> Retryable | Permanent:
    message: Any = body if isinstance(body, dict) else {}
    reason = printable(str(message.get("message") or body or "no reason given"))
    what = f"{said or f'HTTP {status}'}: {reason[:LONGEST_REASON]}{' …' if len(reason) > LONGEST_REASON else ''}"
    if message.get("code") == "insufficient_quota":
        return Permanent(f"{what}; the account has no credit left", status)
    if status in TRY_AGAIN or (status >= 500 and status not in ADVICE):
        return Retryable(what, pause=_retry_after(headers.get("retry-after")), busy=status == 429)
    return Permanent(f"{what}; {ADVICE.get(status, 'the endpoint rejects this request')}", status)


def _retry_after(header: str | None) -> float:
    """Seconds or a date (RFC 9110, 10.2.3); an invalid value counts as 0."""
    if header is None:
        return 0.0
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return 0.0


def _named(error: Exception, fields: Collection[str]) -> str | None:
    """Only errors about the field itself count: an error about its value, such as a number too large, would recur."""
    message = json.dumps(getattr(error, "body", None), default=str)
    if not _NOT_TAKEN.search(message):
        return None
    if (named := getattr(error, "param", None)) is not None:
        field = str(named).partition(".")[0]
        return field if field in fields else None
    places = {name: found.start() for name in fields if (found := re.search(rf"\b{name}\b", message))}
    return min(places, key=lambda name: places[name], default=None)
