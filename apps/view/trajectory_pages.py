"""The pages of one trajectory: all that is known of it, its line, its profile, its tokens, and its export."""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, PlainTextResponse, Response

from .export import about, exported, file_name
from .library import Library
from .playing import parent_of
from .reading import Reading, read, without_posts
from .show import File, Row, Show, path
from .tokens import MOST, tokens_of


def trajectory_pages(library: Library, show: Show, hide: bool) -> APIRouter:
    """`hide`: no export holds the profile's text."""
    at = APIRouter(default_response_class=HTMLResponse)

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
