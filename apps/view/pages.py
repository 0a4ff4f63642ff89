"""What stands at which address."""

from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from ...evaluation.intervals import Interval
from . import look
from .export import about, exported, file_name
from .figures import HEIGHT, WIDTH, card_of, curves
from .index import Progress
from .library import TRAJECTORIES, Library, Run
from .reading import Reading, read, without_posts
from .table import View, choices, page_of
from .tokens import MOST, tokens_of

File = Literal["trajectories", "branches"]
Row = Annotated[int, Path(ge=1, lt=1 << 53)]


class Show:
    """Fills the templates."""

    def __init__(self) -> None:
        self._templates = look.environment()
        self._templates.filters |= {"path": path, "reach": reach}

    def __call__(self, template: str, title: str, **values: Any) -> HTMLResponse:
        return HTMLResponse(self.text(template, title=title, **{"here": "", **values}))

    def text(self, template: str, **values: Any) -> str:
        return self._templates.get_template(template).render(**values)

    def problem(self, status: int, title: str, problem: str, advice: str = "") -> HTMLResponse:
        text = self.text("error.html", title=title, here="", problem=problem, advice=advice)
        return HTMLResponse(text, status)


def path(run: Run) -> str:
    return f"/run/{quote(run.key, safe='')}"


def reach(found: Interval | None) -> str:
    if found is None or found.low is None or found.high is None:
        return ""
    return f"[{look.figure(found.low)}, {look.figure(found.high)}] of {look.count(found.n)}"


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
        values = {"run": chosen, "base": f"{path(chosen)}/{file}/{row}", "here": file}
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
