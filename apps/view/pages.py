"""What stands at which address."""

from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from . import look
from .comparing import compared
from .export import about, exported, file_name
from .figures import HEIGHT, WIDTH, card_of, curves
from .index import Progress
from .library import TRAJECTORIES, Library, Run
from .playing import parent_of
from .reading import Reading, read, without_posts
from .show import File, Page, Row, Show, path
from .table import View, choices, page_of
from .tokens import MOST, tokens_of


def pages(library: Library, show: Show, hide: bool) -> APIRouter:
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
        stamp, cards = _stamp(*found), [card_of(run) for run in found]
        refused, roots = library.refused(), library.roots
        following: dict[str, Any] = {"follow": "/state", "stamp": stamp}
        return show("runs.html", "Runs", here="runs", cards=cards, refused=refused, roots=roots, **following)

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
        stamp, card = _stamp(chosen), card_of(chosen)
        progress = chosen.index(seconds=0).progress if chosen.has(TRAJECTORIES) else Progress()
        alarms = [alarm for alarm in (chosen.summary or {}).get("alarms", []) if alarm["raised"]]
        return show(
            "run.html", chosen.key, here="run", run=chosen, card=card, progress=progress, alarms=alarms,
            curves=curves(chosen), width=WIDTH, height=HEIGHT, follow=f"/state?run={quote(key, safe='')}", stamp=stamp,
        )  # fmt: skip

    @at.get("/run/{key}/{file}")
    def table(request: Request, key: str, file: File) -> HTMLResponse:
        chosen, view = library.find(key), View.of(request.query_params)
        title = f"{'Branches' if file == 'branches' else 'Trajectories'} of {key}"
        following: dict[str, Any] = {"follow": f"/state?run={quote(key, safe='')}", "stamp": _stamp(chosen)}
        if not chosen.has(file):
            return show("nothing.html", title, here=file, run=chosen, file=file, **following)
        index = chosen.index(file)
        bad = index.ask("SELECT count(*) AS n FROM bad")[0]["n"]
        return show(
            "trajectories.html", title, here=file, run=chosen, file=file, view=view, progress=index.progress, bad=bad,
            page=page_of(index, view), choices=choices(index), **following,
        )  # fmt: skip

    @at.get("/run/{key}/{file}/{row}")
    def trajectory(key: str, file: File, row: Row) -> HTMLResponse:
        chosen = library.find(key)
        reading = read(chosen, file, row)
        base, parent = f"{path(chosen)}/{file}/{row}", parent_of(chosen, reading.trajectory)
        values = {
            "run": chosen,
            "base": base,
            "here": file,
            "parent": parent and f"{path(chosen)}/{parent[0]}/{parent[1]}",
        }
        return show("trajectory.html", _title(reading), **values, **about(reading))

    @at.get("/run/{key}/{file}/{row}/line", response_class=PlainTextResponse)
    def line(key: str, file: File, row: Row) -> Response:
        return Response(library.find(key).index(file).text(row), media_type="text/plain; charset=utf-8")

    @at.get("/run/{key}/{file}/{row}/profile")
    def profile(key: str, file: File, row: Row) -> HTMLResponse:
        chosen = library.find(key)
        reading = read(chosen, file, row)
        values = {"profile": reading.profile, "shown": reading.shown, "resting": reading.resting}
        return show("profile.html", "Profile", run=chosen, base=f"{path(chosen)}/{file}/{row}", **values)

    @at.get("/run/{key}/{file}/{row}/tokens")
    def tokens(key: str, file: File, row: Row, step: int) -> HTMLResponse:
        chosen = library.find(key)
        found = chosen.trajectory(file, row)
        trained = found.kind == "personalised" or chosen.train_baseline
        told, named = tokens_of(found, step)
        left_out = max(0, len(found.segments[step].tokens or ()) - MOST)
        return show(
            "tokens.html", "Tokens", run=chosen, base=f"{path(chosen)}/{file}/{row}", number=step, tokens=told,
            named=named, advantage=found.advantage, trained=trained, model=found.model, left_out=left_out,
        )  # fmt: skip

    @at.get("/run/{key}/{file}/{row}/export")
    def export(key: str, file: File, row: Row, redact: bool = False) -> HTMLResponse:
        reading = read(library.find(key), file, row)
        page = show("export.html", _title(reading), **exported(without_posts(reading) if hide or redact else reading))
        page.headers["content-disposition"] = f'attachment; filename="{file_name(reading)}"'
        return page

    return at


def _title(reading: Reading) -> str:
    return reading.question.text if reading.question else reading.trajectory.question_id


def _stamp(*runs: Run, seconds: float = 0.0) -> str:
    """Another one as soon as a page of these runs has something new to show."""
    return "".join(f"{run.key} {run.stamp} {run.indexed(seconds)};" for run in runs)
