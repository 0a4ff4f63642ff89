"""HTTP tools: one endpoint each, called for the user of the episode.

GET -> {"name": …, "description": …, "schema": a JSON schema of an object}
POST {"user": …, "profile": digest, "arguments": {…}} -> {"documents": [{"id": …}, …]}, {"text": …} or {"refused": …}
"""

import json
from collections.abc import Mapping
from functools import partial
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from ..._util.keys import hidden
from ..._util.web import without_login
from ...errors import OptionError, ToolError
from ..question import Profile
from ..text import clean
from .json_schema import arguments_of
from .served import served_result
from .tool import Result, Tool


def http(where: str, *, timeout: float = 30.0) -> Tool:
    """The tool at `http://host:port/path`; the argument of that spec is `//host:port/path`."""
    return _tool(f"http:{where}", timeout)


def https(where: str, *, timeout: float = 30.0) -> Tool:
    return _tool(f"https:{where}", timeout)


def _tool(url: str, timeout: float) -> Tool:
    if not urlsplit(url).hostname or timeout <= 0:
        raise OptionError(f"{hidden(url)!r}, timeout={timeout}: give a URL http://host:port/path and a timeout above 0")
    match _exchange(url, timeout):
        case {"name": str(name), "description": str(description), "schema": schema} if name.isidentifier():
            return Tool(name, clean(description), arguments_of(name, schema), partial(_call, url, timeout))
        case other:
            raise ToolError(
                f"{hidden(url)} must describe a tool by 'name', 'description' and 'schema', not {other!r:.200}"
            )


def _call(url: str, timeout: float, profile: Profile, /, **arguments: Any) -> Result:
    body = {"user": profile.user_id, "profile": profile.digest.hex(), "arguments": arguments}
    reply = _exchange(url, timeout, json.dumps(body).encode())
    result = served_result(reply, profile) if isinstance(reply, Mapping) else None
    if result is None:
        raise ToolError(f"{hidden(url)} must answer with 'documents', 'text' or 'refused', not {reply!r:.200}")
    return result


def _exchange(url: str, timeout: float, body: bytes | None = None) -> Any:
    address, login = without_login(url)
    shown = hidden(url)
    request = Request(address, body, {"Content-Type": "application/json"} | login)  # noqa: S310 (http or https)
    try:
        with urlopen(request, timeout=timeout) as response:  # noqa: S310
            return json.loads(response.read())
    except HTTPError as error:
        with error:
            raise ToolError(f"{shown} answered {error.code} {error.reason}: {error.read(200)!r}") from error
    except (
        OSError,
        HTTPException,
        ValueError,
        RecursionError,
    ) as error:  # refused, timed out, closed early, or no JSON
        raise ToolError(f"{shown} gave no answer ({error!r}; timeout={timeout:g} s)") from error
