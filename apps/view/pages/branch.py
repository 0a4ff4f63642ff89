"""A branch of a recorded trajectory: the form that begins it, and its difference to the parent."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from ....envs.trajectory import Trajectory
from ....errors import DataError, OptionError
from ..details import chosen_for, details_of, parent_of
from ..diff import diff_steps
from ..games import act, saved
from ..library import BRANCHES, Run
from ..play_options import KnownNames, PlayOptions
from ..site import SiteDep, read_form, redirect, text_of_form
from ..steps import beside, steps_of
from ..templating import File, Row, trajectory_path

router = APIRouter(prefix="/run/{key}")


@router.get("/{file}/{row}/branch")
def fork(site: SiteDep, key: str, file: File, row: Row, turn: int) -> HTMLResponse:
    run = site.library.find(key)
    details = details_of(run, file, row)
    trajectory = details.trajectory
    steps = steps_of(trajectory, {}, details.trained)
    begin = next((step.number for step in steps if step.turn == turn), None)
    if begin is None:
        raise DataError(f"this trajectory has no turn {turn + 1}")
    return site.show(
        "branch.html", f"Branch from turn {turn + 1} of {trajectory.id}", here=file, run=run,
        base=trajectory_path(run, file, row), pairs=beside(steps[:begin], []), turn=turn,
        known=KnownNames.here(site.library.models()),
        written=trajectory.segments[begin].text, choice=_usual(run, trajectory),
    )  # fmt: skip


@router.post("/{file}/{row}/branch")
async def branch(request: Request, site: SiteDep, key: str, file: File, row: Row) -> RedirectResponse:
    run, form = site.library.find(key), await read_form(request)
    turn, how = form.get("turn", ""), form.get("how", "")
    if not (turn.isdecimal() and len(turn) < 9) or how not in ("me", "model", "ask"):
        raise OptionError(f"turn={turn!r}, how={how!r}: go back and press one of the buttons")
    parent = run.trajectory(file, row)
    choice = _usual(run, parent).filled_in(form)
    live = await site.loop.run(site.games.branch(run, parent, int(turn), choice))
    if how != "ask":
        await site.loop.run(act(live, "write", text_of_form(form)))
    if how != "me" and not live.error and not live.game.over:
        await site.loop.run(act(live, "finish", ""))
    return redirect((live.game.over and saved(live)) or f"/live/{live.id}")


@router.get("/branches/{row}/diff")
def diff(site: SiteDep, key: str, row: Row) -> HTMLResponse:
    run = site.library.find(key)
    made = run.trajectory(BRANCHES, row)
    found = parent_of(run, made)
    if found is None:
        raise DataError("this game did not branch off a trajectory of the run")
    parent = run.trajectory(*found)
    return site.show(
        "diff.html", "A branch beside its parent", here="branches", run=run, base=trajectory_path(run, BRANCHES, row),
        other=trajectory_path(run, *found), parent=parent, branch=made, rows=diff_steps(parent, made),
        chosen=chosen_for(made),
    )  # fmt: skip


def _usual(run: Run, parent: Trajectory) -> PlayOptions:
    """Default options of a branch of a trajectory."""
    return PlayOptions.of_branch(run.played_with, parent.parent or {}, run.questions.profile_of(parent))
