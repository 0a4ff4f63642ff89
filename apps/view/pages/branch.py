"""A branch of a recorded trajectory: where it begins, and what became of it beside its parent."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from ....envs.trajectory import Trajectory
from ....errors import DataError, OptionError
from ..choice import Choice, Known
from ..difference import beside_each_other
from ..forms import lines_of, sent, to
from ..games import act, saved
from ..library import BRANCHES, Run
from ..reading import chosen_for, parent_of, read
from ..show import File, Row, place
from ..site import Here
from ..steps import LONGEST, beside, steps_of

at = APIRouter(prefix="/run/{key}")


@at.get("/{file}/{row}/branch")
def fork(site: Here, key: str, file: File, row: Row, turn: int) -> HTMLResponse:
    run = site.library.find(key)
    reading = read(run, file, row)
    trajectory = reading.trajectory
    steps = steps_of(trajectory, {}, reading.trained)
    begin = next((step.number for step in steps if step.turn == turn), None)
    if begin is None:
        raise DataError(f"this trajectory has no turn {turn + 1}")
    return site.show(
        "branch.html", f"Branch from turn {turn + 1} of {trajectory.id}", here=file, run=run,
        base=place(run, file, row), pairs=beside(steps[:begin], []), turn=turn, known=Known.here(site.library.models()),
        written=trajectory.segments[begin].text[:LONGEST], choice=_usual(run, trajectory),
    )  # fmt: skip


@at.post("/{file}/{row}/branch")
async def branch(request: Request, site: Here, key: str, file: File, row: Row) -> RedirectResponse:
    run, form = site.library.find(key), await sent(request)
    turn, how = form.get("turn", ""), form.get("how", "")
    if not turn.isdecimal() or how not in ("me", "model", "ask"):
        raise OptionError(f"turn={turn!r}, how={how!r}: go back, and press one of the buttons")
    parent = run.trajectory(file, row)
    choice = _usual(run, parent).filled_in(form)
    live = await site.stage.play(site.seats.branch(run, parent, int(turn), choice))
    if how != "ask":
        await site.stage.play(act(live, "write", lines_of(form)))
    if how != "me" and not live.trouble and not live.game.over:
        await site.stage.play(act(live, "finish", ""))
    return to((live.game.over and saved(live)) or f"/live/{live.id}")


@at.get("/branches/{row}/diff")
def diff(site: Here, key: str, row: Row) -> HTMLResponse:
    run = site.library.find(key)
    made = run.trajectory(BRANCHES, row)
    found = parent_of(run, made)
    if found is None:
        raise DataError("this game did not branch off a trajectory of the run")
    parent = run.trajectory(*found)
    return site.show(
        "diff.html", "A branch beside its parent", here="branches", run=run, base=place(run, BRANCHES, row),
        other=place(run, *found), parent=parent, branch=made, rows=beside_each_other(parent, made),
        chosen=chosen_for(made),
    )  # fmt: skip


def _usual(run: Run, parent: Trajectory) -> Choice:
    """What a branch of it is played with, where nothing else is asked for."""
    return Choice.of_branch(run.played_with, parent.parent or {}, run.questions.profile_of(parent))
