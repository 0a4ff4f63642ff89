"""One trajectory: all that is known of it, its line, its profile, its tokens, and its export."""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from ..export import about, exported, file_name
from ..reading import Reading, chosen_for, parent_of, read, without_posts
from ..show import File, Row, place
from ..site import Here
from ..tokens import MOST, tokens_of

at = APIRouter(prefix="/run/{key}/{file}/{row}")


@at.get("")
def trajectory(site: Here, key: str, file: File, row: Row) -> HTMLResponse:
    run = site.library.find(key)
    reading = read(run, file, row)
    parent = parent_of(run, reading.trajectory)
    values = {"run": run, "base": place(run, file, row), "here": file, "parent": parent and place(run, *parent)}
    values["chosen"] = chosen_for(reading.trajectory)
    return site.show("trajectory.html", _title(reading), **values, **about(reading))


@at.get("/line")
def line(site: Here, key: str, file: File, row: Row) -> Response:
    return Response(site.library.find(key).index(file).text(row), media_type="text/plain; charset=utf-8")


@at.get("/profile")
def profile(site: Here, key: str, file: File, row: Row) -> HTMLResponse:
    run = site.library.find(key)
    reading = read(run, file, row)
    whose = run.questions.profile_of(reading.trajectory)
    resting = reading.resting if whose == "own" else {}
    values = {"profile": reading.profile, "shown": reading.shown(whose), "resting": resting}
    return site.show("profile.html", "Profile", run=run, base=place(run, file, row), **values)


@at.get("/tokens")
def tokens(site: Here, key: str, file: File, row: Row, step: int) -> HTMLResponse:
    run = site.library.find(key)
    found = run.trajectory(file, row)
    trained = found.kind == "personalised" or run.train_baseline
    told, named = tokens_of(found, step)
    left_out = max(0, len(found.segments[step].tokens or ()) - MOST)
    return site.show(
        "tokens.html", "Tokens", run=run, base=place(run, file, row), number=step, tokens=told, named=named,
        advantage=found.advantage, trained=trained, model=found.model, left_out=left_out,
    )  # fmt: skip


@at.get("/export")
def export(site: Here, key: str, file: File, row: Row, redact: bool = False) -> HTMLResponse:
    reading = read(site.library.find(key), file, row)
    if redact or site.redact:
        reading = without_posts(reading)
    page = site.show("export.html", _title(reading), **exported(reading))
    page.headers["content-disposition"] = f'attachment; filename="{file_name(reading)}"'
    return page


def _title(reading: Reading) -> str:
    return reading.question.text if reading.question else reading.trajectory.question_id
