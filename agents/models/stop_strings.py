"""The stop string that ended a text, put back: servers leave it out."""

from collections.abc import Mapping, Sequence
from typing import Any


def with_stop(text: str, choice: Mapping[str, Any], stop: Sequence[str], before: str = "") -> str:
    """`before` is what the same turn said already.

    vLLM says in `stop_reason` what it stopped at. Elsewhere "stop" may mean a stop string or the model's own end: the
    tag that stands open is closed.
    """
    if choice.get("finish_reason") != "stop" or any(one in text for one in stop):
        return text
    if "stop_reason" in choice:  # None, or the number of a token, is the model's own end
        return text + choice["stop_reason"] if choice["stop_reason"] in stop else text
    return text + _open_tag(before + text, stop)


def _open_tag(text: str, stop: Sequence[str]) -> str:
    """What closes the tag that was opened last, if nothing did."""
    latest, closing = max(((text.rfind(one.replace("/", "", 1)), one) for one in stop), default=(-1, ""))
    return closing if latest > text.rfind(closing) else ""
