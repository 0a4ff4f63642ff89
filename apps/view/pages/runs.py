"""The list of runs, and the state that open pages poll."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from ..figures import Card, cards_of
from ..site import SiteDep
from ..templating import stamp_of

router = APIRouter()


@router.get("/")
def runs(site: SiteDep) -> HTMLResponse:
    found = site.library.runs().values()
    stamp, (cards, broken) = stamp_of(*found), cards_of(site.library, found)
    following: dict[str, Any] = {"follow": "/state", "stamp": stamp, "roots": site.library.roots}
    refused = [*site.library.refused(), *broken]
    return site.show("runs.html", "Runs", here="runs", families=_families(cards), refused=refused, **following)


@router.get("/state")
def state(site: SiteDep, run: str | None = None) -> dict[str, str]:
    """A stamp that changes with the runs; also indexes new trajectories."""
    found = [site.library.find(run)] if run is not None else list(site.library.runs().values())
    return {"stamp": stamp_of(*found, seconds=0.7 / max(1, len(found)))}


def _families(cards: Iterable[Card]) -> list[tuple[Card, list[Card]]]:
    """Each run with the runs inside it, such as the evaluations of a training run."""
    by_path = {card.run.path: card for card in cards}
    families: dict[Path, list[Card]] = {}
    for path, card in by_path.items():
        outermost = next((above for above in reversed(path.parents) if above in by_path), path)
        families.setdefault(outermost, []).append(card)
    return [(by_path[path], [card for card in family if card.run.path != path]) for path, family in families.items()]
