"""What went wrong with a call, said clearly: worth another try, or not and what to do."""

import email.utils
import time
from collections.abc import Mapping
from typing import Any

from ...errors import EndpointError

ADVICE = {
    400: "the request is not one this endpoint takes: look at the model's name, max_tokens and the prompt's length",
    401: "the key is refused: set OPENAI_API_KEY to one that this endpoint knows",
    403: "the key may not use this model: ask with another key or model",
    404: "no such model or path: look at the model's name and at how the base URL ends (often in /v1)",
    422: "the request is not one this endpoint takes: look at the model's name, max_tokens and the prompt's length",
    501: "this endpoint cannot do that: ask in another form, or another endpoint",
}
TRY_AGAIN = {408, 409, 425, 429}


class Retryable(EndpointError):
    """A failure that may pass. `pause` is what the endpoint asked us to wait, in seconds."""

    def __init__(self, what: str, *, pause: float = 0.0, busy: bool = False) -> None:
        super().__init__(what)
        self.pause = pause
        self.busy = busy  # it is there, but says that we ask too much


class Permanent(EndpointError):
    """A failure that would come again."""


def failure(error: Exception, timeout: float) -> Retryable | Permanent:
    """The failure in our words; the client's own exception holds the request, and with it the key."""
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


def _refusal(status: int, body: object, headers: Mapping[str, str]) -> Retryable | Permanent:
    said: Any = body if isinstance(body, dict) else {}
    what = f"HTTP {status}: {said.get('message') or body or 'no reason given'}"
    if said.get("code") == "insufficient_quota":
        return Permanent(f"{what}; the account has no credit left", status)
    if status in TRY_AGAIN or (status >= 500 and status not in ADVICE):
        return Retryable(what, pause=_retry_after(headers.get("retry-after")), busy=status == 429)
    return Permanent(f"{what}; {ADVICE.get(status, 'the endpoint will not take this request')}", status)


def _retry_after(header: str | None) -> float:
    """Seconds or a date (RFC 9110, 10.2.3); what cannot be read asks for nothing."""
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
