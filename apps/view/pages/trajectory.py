"""One trajectory: its page, line, profile, tokens and export."""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from ....envs.data.profile_controls import ProfileOf
from ....errors import DataError
from ..details import Details, chosen_for, details_of, parent_of, without_posts
from ..export import about, exported, file_name
from ..history import around as neighbours
from ..history import filtered
from ..site import SiteDep
from ..templating import File, Row, trajectory_path
from ..tokens import MOST, advantage_at, tokens_of

router = APIRouter(prefix="/run/{key}/{file}/{row}")


@router.get("")
def trajectory(site: SiteDep, key: str, file: File, row: Row) -> HTMLResponse:
    run = site.library.find(key)
    details = details_of(run, file, row)
    parent = parent_of(run, details.trajectory)
    values = {
        "run": run,
        "base": trajectory_path(run, file, row),
        "here": file,
        "parent": parent and trajectory_path(run, *parent),
    }
    values["chosen"] = chosen_for(details.trajectory)
    return site.show("trajectory.html", _title(details), **values, **about(details))


@router.get("/line")
def line(site: SiteDep, key: str, file: File, row: Row) -> Response:
    return Response(site.library.find(key).index(file).text(row), media_type="text/plain; charset=utf-8")


@router.get("/profile")
def profile(
    site: SiteDep, key: str, file: File, row: Row, words: str = "", around: str | None = None, turn: int | None = None
) -> HTMLResponse:
    """All posts of the profile that was searched, or with `around` those beside one that a turn showed."""
    run = site.library.find(key)
    details = details_of(run, file, row)
    searched, whose = details.profile, run.questions.profile_of(details.trajectory)
    if around is not None and _whose_at(details, turn, whose) == "own":
        searched, whose = details.own, "own"
    shown, evidence = details.shown(whose), details.evidence if whose == "own" else {}
    sessions = filtered(searched, words, shown, evidence) if around is None else neighbours(searched, around)
    return site.show(
        "profile.html", "Profile", run=run, base=trajectory_path(run, file, row), profile=searched, shown=shown,
        evidence=evidence, sessions=sessions, words=words, around=around,
        found=sum(not post.hidden for session in sessions for post in session.posts),
    )  # fmt: skip


def _whose_at(details: Details, turn: int | None, now: ProfileOf) -> ProfileOf:
    """Whose posts a turn searched; without a turn, those of the user who asks."""
    whose = "own" if turn is None else details.whose.get(turn, now)
    if whose not in ("own", now):
        raise DataError(f"turn {turn} searched the posts of another user than this trajectory does")
    return whose


@router.get("/tokens")
def tokens(site: SiteDep, key: str, file: File, row: Row, step: int) -> HTMLResponse:
    run = site.library.find(key)
    found = run.trajectory(file, row)
    trained = found.kind == "personalised" or run.train_baseline
    told, named = tokens_of(found, step)
    left_out = max(0, len(found.segments[step].tokens or ()) - MOST)
    return site.show(
        "tokens.html", "Tokens", run=run, base=trajectory_path(run, file, row), number=step, tokens=told, named=named,
        advantage=advantage_at(found, step), trained=trained, model=found.model, left_out=left_out,
    )  # fmt: skip


@router.get("/export")
def export(site: SiteDep, key: str, file: File, row: Row, redact: bool = False) -> HTMLResponse:
    details = details_of(site.library.find(key), file, row)
    if redact or site.redact:
        details = without_posts(details)
    page = site.show("export.html", _title(details), **exported(details))
    page.headers["content-disposition"] = f'attachment; filename="{file_name(details)}"'
    return page


def _title(details: Details) -> str:
    return details.question.text if details.question else details.trajectory.question_id
