"""All runs, and whether there is something new in them."""

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from ....envs.errors import ProfileGymError
from ..figures import Card, card_of
from ..library import Refused, Run
from ..news import stamp_of
from ..site import Here

at = APIRouter()


@at.get("/")
def runs(site: Here) -> HTMLResponse:
    found = site.library.runs().values()
    stamp, (cards, broken) = stamp_of(*found), _cards(found)
    following: dict[str, Any] = {"follow": "/state", "stamp": stamp, "roots": site.library.roots}
    refused = [*site.library.refused(), *broken]
    return site.show("runs.html", "Runs", here="runs", cards=cards, refused=refused, **following)


@at.get("/state")
def state(site: Here, run: str | None = None) -> dict[str, str]:
    """Whether there is something new; what is not indexed yet is taken in meanwhile."""
    found = [site.library.find(run)] if run is not None else list(site.library.runs().values())
    return {"stamp": stamp_of(*found, seconds=0.7 / max(1, len(found)))}


def _cards(runs: Iterable[Run]) -> tuple[list[Card], list[Refused]]:
    """One that cannot be read does not hide the others."""
    cards, broken = list[Card](), list[Refused]()
    for run in runs:
        try:
            cards.append(card_of(run))
        except (ProfileGymError, OSError, TypeError, ValueError, LookupError, AttributeError) as error:
            broken.append(Refused(run.path, f"{run.path} cannot be shown: {error}"))
    return cards, broken
