"""Which fields of a request an endpoint does not take, found out from its refusals."""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

SCHEMA = "response_format"  # where a schema stands in a body
# OpenAI's reasoning models refuse each of these; a reply without it can still be used.
OPTIONAL = ("temperature", "top_p", "seed", "stop", "parallel_tool_calls", SCHEMA)
OTHER_NAME = {"max_tokens": "max_completion_tokens"}  # the older name, which other servers know, is sent first
_NOT_TAKEN = re.compile(r"support|unknown|unrecogni[sz]ed|unexpected|extra|permitted|allowed|deprecated", re.IGNORECASE)


def without(body: Mapping[str, Any], refused: Collection[str]) -> dict[str, Any]:
    """The body that the endpoint takes: refused fields are left out, or sent under their other name."""
    if not refused:
        return dict(body)
    kept = {name: value for name, value in body.items() if name not in refused}
    renamed = {OTHER_NAME[name]: body[name] for name in refused if name in OTHER_NAME and name in body}
    return {**renamed, **kept}


def refused_field(error: Exception, body: Mapping[str, Any], schema_known: bool) -> str | None:
    """The field that a request should be sent without, or under another name; None where that would not help.

    A refusal that names no field may mean the schema, unless the endpoint is known to take one.
    """
    if getattr(error, "status_code", None) not in (400, 422):
        return None
    named = _named(error, [name for name in (*OTHER_NAME, *OPTIONAL) if name in body])
    if named is None and SCHEMA in body and not schema_known:
        return SCHEMA
    return named


def notice(field: str) -> str:
    """What asking without a field means, for the log."""
    if field in OTHER_NAME:
        return f"{OTHER_NAME[field]} is sent instead"
    if field == "temperature":
        return "it is left out, so replies are sampled at the model's own temperature and differ from call to call"
    return "it is left out"


def _named(error: Exception, fields: Collection[str]) -> str | None:
    """Only a refusal of the field itself counts: one of its value, as a number too large, would come again."""
    said = json.dumps(getattr(error, "body", None), default=str)
    if not _NOT_TAKEN.search(said):
        return None
    if (named := getattr(error, "param", None)) is not None:
        field = str(named).partition(".")[0]
        return field if field in fields else None
    places = {name: found.start() for name in fields if (found := re.search(rf"\b{name}\b", said))}
    return min(places, key=lambda name: places[name], default=None)
