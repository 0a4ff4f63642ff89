"""The pages of runs: all of them, one, its table, and two beside each other."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from ...envs.errors import ProfileGymError
from . import look
from .choice import flat
from .comparing import compared
from .figures import HEIGHT, WIDTH, Card, card_of, curves
from .index import Progress
from .library import TRAJECTORIES, Library, Refused, Run
from .show import File, Page, Show
from .table import View, choices, page_of


def run_pages(library: Library, show: Show) -> APIRouter:
    at = APIRouter(default_response_class=HTMLResponse)

    @at.get("/static/view.css")
    def style() -> Response:
        return Response(look.style(), media_type="text/css")

    @at.get("/static/view.js")
    def script() -> Response:
        return Response(look.script(), media_type="text/javascript")

    @at.get("/static/icon.svg")
    def icon() -> Response:
        return Response(look.icon(), media_type="image/svg+xml")

    @at.get("/")
    def runs() -> HTMLResponse:
        found = library.runs().values()
        stamp, (cards, broken) = _stamp(*found), _cards(found)
        following: dict[str, Any] = {"follow": "/state", "stamp": stamp, "roots": library.roots}
        return show("runs.html", "Runs", here="runs", cards=cards, refused=[*library.refused(), *broken], **following)

    @at.get("/state", response_class=JSONResponse)
    def state(run: str | None = None) -> dict[str, str]:
        """Whether there is something new; what is not indexed yet is taken in meanwhile."""
        found = [library.find(run)] if run is not None else list(library.runs().values())
        return {"stamp": _stamp(*found, seconds=0.7 / max(1, len(found)))}

    @at.get("/compare")
    def compare(a: str | None = None, b: str | None = None, page: Page = 1) -> HTMLResponse:
        found = {key: run for key, run in library.runs().items() if run.has(TRAJECTORIES)}
        latest = [*found, None, None]
        one, two = a or latest[1], b or latest[0]  # the latest beside the one before it
        values: dict[str, Any] = {"keys": list(found), "a": one, "b": two, "found": None}
        if one and two:
            first, second = library.find(one), library.find(two)
            values |= {"first": first, "second": second, "found": compared(first.index(), second.index(), page)}
        return show("compare.html", "Compare two runs", here="compare", **values)

    @at.get("/run/{key}")
    def run(key: str) -> HTMLResponse:
        chosen = library.find(key)
        following, card = _following(chosen), card_of(chosen)
        progress = chosen.index(seconds=0).progress if chosen.has(TRAJECTORIES) else Progress()
        alarms = [alarm for alarm in (chosen.summary or {}).get("alarms", []) if alarm.get("raised")]
        return show(
            "run.html", chosen.key, here="run", run=chosen, card=card, progress=progress, alarms=alarms,
            settings=flat(chosen.settings), curves=curves(chosen), width=WIDTH, height=HEIGHT, **following,
        )  # fmt: skip

    @at.get("/run/{key}/{file}")
    def table(request: Request, key: str, file: File) -> HTMLResponse:
        chosen, view = library.find(key), View.of(request.query_params)
        title = f"{'Branches' if file == 'branches' else 'Trajectories'} of {key}"
        following = _following(chosen)
        if not chosen.has(file):
            return show("nothing.html", title, here=file, run=chosen, file=file, **following)
        index = chosen.index(file)
        bad = index.ask("SELECT count(*) AS n FROM bad")[0]["n"]
        return show(
            "trajectories.html", title, here=file, run=chosen, file=file, view=view, progress=index.progress, bad=bad,
            page=page_of(index, view), choices=choices(index), **following,
        )  # fmt: skip

    return at


def _cards(runs: Iterable[Run]) -> tuple[list[Card], list[Refused]]:
    """One that cannot be read does not hide the others."""
    cards, broken = list[Card](), list[Refused]()
    for run in runs:
        try:
            cards.append(card_of(run))
        except (ProfileGymError, OSError, TypeError, ValueError, LookupError, AttributeError) as error:
            broken.append(Refused(run.path, f"{run.path} cannot be shown: {error}"))
    return cards, broken


def _following(run: Run) -> dict[str, Any]:
    """Where a page of this run asks for news, and what it knows: taken before it is made, so that nothing is missed."""
    return {"follow": f"/state?run={quote(run.key, safe='')}", "stamp": _stamp(run)}


def _stamp(*runs: Run, seconds: float = 0.0) -> str:
    """Another one as soon as a page of these runs has something new to show."""
    return "".join(f"{run.key} {run.stamp} {run.indexed(seconds)};" for run in runs)
