"""What every page gets: the objects of the server, the form of the request, and a redirect."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, cast
from urllib.parse import parse_qsl, quote

from fastapi import Depends, Request
from fastapi.responses import RedirectResponse

from ...errors import OptionError
from .event_loop import BackgroundLoop
from .filters import original_text
from .games import LiveGames
from .library import Library
from .templating import Show

_MAX_FORM = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Site:
    """One per server. `redact`: no export holds the profile's text."""

    library: Library
    redact: bool
    show: Show = field(default_factory=Show)
    loop: BackgroundLoop = field(default_factory=BackgroundLoop)
    games: LiveGames = field(default_factory=LiveGames)


async def _site(request: Request) -> Site:
    return cast(Site, request.app.state.site)


SiteDep = Annotated[Site, Depends(_site)]


async def read_form(request: Request) -> Mapping[str, str]:
    """The fields of the form that was sent, with the invisible characters of what a page had filled in."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MAX_FORM:
            raise OptionError(f"a form may have at most {_MAX_FORM:,} bytes")
    fields = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: original_text(value) for name, value in fields}


def text_of_form(form: Mapping[str, str]) -> str:
    """The field `text`, with the line breaks that models write."""
    return form.get("text", "").replace("\r\n", "\n")


def redirect(address: str) -> RedirectResponse:
    return RedirectResponse(quote(address, safe="/%:~"), 303)
