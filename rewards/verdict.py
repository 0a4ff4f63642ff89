"""From an evaluator's reply to its verdict: only the last complete object counts, and only an offered value."""

import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from ..errors import JudgeError

MATCHES = (0, 1, 2)
PLACES = {"first": 1, "second": -1, "neither": 0}
_OPENS, _CLOSES = "<think>", "</think>"
_OBJECT = re.compile(r"""\{\s*["']?\w+["']?\s*:""")  # a brace in prose begins no object
_SHOWN = 200


class Opinion(NamedTuple):
    """What the evaluator thinks of one aspect."""

    match: int
    reason: str


class Unreadable(JudgeError):
    """A reply that holds no verdict."""


def parse(reply: str) -> Opinion:
    """Raises `Unreadable`: a verdict is never guessed, nor taken out of the middle of a broken object."""
    match _object_in(reply):
        case {"match": int(match), "reason": str(reason)} if match in MATCHES and not isinstance(match, bool):
            return Opinion(match, reason)
    raise Unreadable(f"no 'reason' with a 'match' of 0, 1 or 2 in the evaluator's reply: {shortened(reply)!r}")


def parse_preference(reply: str) -> int:
    """1 for the first answer, -1 for the second, 0 for neither; raises `Unreadable` as `parse` does."""
    match _object_in(reply):
        case {"better": str(better), "reason": str()} if better in PLACES:
            return PLACES[better]
    raise Unreadable(
        f"no 'reason' with a 'better' of first, second or neither in the evaluator's reply: {shortened(reply)!r}"
    )


def _object_in(reply: str) -> Any:
    if (found := _last_object(_after_thinking(reply))) is None:
        raise Unreadable(f"no verdict in the evaluator's reply: {shortened(reply)!r}")
    return found


def _after_thinking(reply: str) -> str:
    """Thinking that never ends holds no verdict. A closing tag alone may be a quotation, and ends nothing."""
    return reply.partition(_CLOSES)[2] if reply.lstrip().startswith(_OPENS) else reply


def shortened(text: str) -> str:
    """Its beginning and its end, as verdicts stand there."""
    half = _SHOWN // 2
    return text if len(text) <= _SHOWN else f"{text[:half]} … {text[-half:]}"


def _last_object(text: str) -> Any:
    """None where an object is cut off or broken, as what stands inside may be a quotation of the answer."""
    found, position = None, 0
    while begin := _OBJECT.search(text, position):
        try:
            found, position = _DECODER.raw_decode(text, begin.start())
        except (ValueError, RecursionError):
            return None
    return found


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a key stands twice")
    return found


_DECODER = json.JSONDecoder(strict=False, object_pairs_hook=_each_key_once)


def _schema(verdict: str, kind: str, offered: Iterable[int | str]) -> dict[str, Any]:
    """The reason stands before the verdict, so that it is thought of first."""
    return {
        "type": "object",
        "properties": {"reason": {"type": "string"}, verdict: {"type": kind, "enum": list(offered)}},
        "required": ["reason", verdict],
        "additionalProperties": False,
    }


SCHEMA = _schema("match", "integer", MATCHES)
PREFERENCE_SCHEMA = _schema("better", "string", PLACES)
