"""What every page is made with."""

from dataclasses import dataclass, field
from typing import Annotated, cast

from fastapi import Depends, Request

from .games import Seats
from .library import Library
from .show import Show
from .worker import Stage


@dataclass(frozen=True, slots=True)
class Site:
    """One a server. `redact`: no export holds the profile's text."""

    library: Library
    redact: bool
    show: Show = field(default_factory=Show)
    stage: Stage = field(default_factory=Stage)
    seats: Seats = field(default_factory=Seats)


async def _site(request: Request) -> Site:
    return cast(Site, request.app.state.site)


Here = Annotated[Site, Depends(_site)]
