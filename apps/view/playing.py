"""The pages where somebody plays: a question from the start, or a branch of a recorded trajectory."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from ...envs.data import QuestionSet
from ...envs.errors import DataError, OptionError
from ...envs.question import Question
from ...envs.trajectory import Trajectory
from ..play.game import PERSON
from .choice import PROFILES, Choice
from .difference import beside_each_other
from .library import BRANCHES, TRAJECTORIES, Library, Run
from .reading import read
from .seats import Seat, Seats, act
from .show import File, Row, Show, path
from .stage import Stage
from .steps import LONGEST, beside, cut, parts_of, steps_of

_LONGEST_FORM = 1 << 20
_LISTED = 40  # questions to pick from
_LOOKED_AT = 2_000  # of a data set's questions, for words that they hold


def playing(library: Library, show: Show, stage: Stage) -> APIRouter:
    at, seats = APIRouter(default_response_class=HTMLResponse), Seats()

    @at.get("/run/{key}/live")
    def start(key: str, words: str = "") -> HTMLResponse:
        run = library.find(key)
        questions = run.questions.load(run.played_with.data)
        values = {"found": _listed(questions, words), "words": words, "of": len(questions), "profiles": PROFILES}
        choice = Choice.of_run(run.played_with)
        return show("start.html", f"Play a question of {key}", here="live", run=run, choice=choice, **values)

    @at.post("/run/{key}/live")
    async def begin(request: Request, key: str) -> Response:
        run, form = library.find(key), await _form(request)
        choice = Choice.of(form, run.played_with)
        seat = await stage.play(seats.begin(run, form.get("question", ""), choice))
        return _to(f"/live/{seat.id}")

    @at.get("/run/{key}/{file}/{row}/branch")
    def fork(key: str, file: File, row: Row, turn: int) -> HTMLResponse:
        run = library.find(key)
        reading = read(run, file, row)
        steps = steps_of(reading.trajectory, {}, reading.trained)
        place = next((step.number for step in steps if step.turn == turn), None)
        if place is None:
            raise DataError(f"this trajectory has no turn {turn + 1}")
        values = {"written": reading.trajectory.segments[place].text[:LONGEST], "turn": turn, "profiles": PROFILES}
        pairs, choice = beside(steps[:place], []), Choice.of_run(run.played_with)
        base = f"{path(run)}/{file}/{row}"
        title = f"Branch from turn {turn + 1} of {reading.trajectory.id}"
        return show("branch.html", title, here=file, run=run, base=base, pairs=pairs, choice=choice, **values)

    @at.post("/run/{key}/{file}/{row}/branch")
    async def branch(request: Request, key: str, file: File, row: Row) -> Response:
        run, form = library.find(key), await _form(request)
        turn, how = form.get("turn", ""), form.get("how", "")
        if not turn.isdecimal() or how not in ("me", "model", "ask"):
            raise OptionError(f"turn={turn!r}, how={how!r}: go back, and press one of the buttons")
        choice = Choice.of(form, run.played_with)
        seat = await stage.play(seats.branch(run, run.trajectory(file, row), int(turn), choice))
        if how != "ask":
            await stage.play(act(seat, "write", form.get("text", "").replace("\r\n", "\n")))
        if how != "me" and not seat.trouble and not seat.game.over:
            await stage.play(act(seat, "finish", ""))
        return _to(_place(seat))

    @at.get("/live/{seat}")
    def live(seat: str) -> HTMLResponse:
        return _page(show, seats.find(seat))

    @at.post("/live/{seat}")
    async def move(request: Request, seat: str) -> Response:
        played, form = seats.find(seat), await _form(request)
        if form.get("do") == "apart":
            return _to(f"/live/{seats.apart(played).id}")
        await stage.play(act(played, form.get("do", ""), form.get("text", "").replace("\r\n", "\n")))
        return _to(f"/live/{played.id}")

    @at.get("/run/{key}/branches/{row}/diff")
    def diff(key: str, row: Row) -> HTMLResponse:
        run = library.find(key)
        branch = run.trajectory(BRANCHES, row)
        found = parent_of(run, branch)
        if found is None:
            raise DataError("this game did not branch off a trajectory of the run")
        file, line = found
        parent = run.trajectory(file, line)
        values = {"parent": parent, "branch": branch, "rows": beside_each_other(parent, branch)}
        bases = {"base": f"{path(run)}/branches/{row}", "other": f"{path(run)}/{file}/{line}"}
        return show(
            "diff.html",
            "A branch beside its parent",
            here="branches",
            run=run,
            changed=changes_of(branch),
            **values,
            **bases,
        )

    return at


def parent_of(run: Run, trajectory: Trajectory) -> tuple[str, int] | None:
    """In which file of the run, and on which line, the trajectory stands that this one branched off."""
    wanted = (trajectory.parent or {}).get("id")
    for name in (TRAJECTORIES, BRANCHES):
        if wanted and run.has(name) and (row := run.index(name).row_of(str(wanted))):
            return name, row
    return None


def changes_of(trajectory: Trajectory) -> dict[str, str]:
    """What is other than in the parent."""
    named = ("agent", "model", "retriever", "top_k", "profile")
    return {name: str(value) for name, value in (trajectory.parent or {}).items() if name in named}


def _page(show: Show, seat: Seat) -> HTMLResponse:
    game, trajectory = seat.game, seat.trajectory
    resting = _resting(game.question) if game.over else {}
    reward = game.episode.reward
    proposal = game.proposal
    return show(
        "live.html", game.question.text, here="live", run=seat.run, seat=seat, game=game, t=trajectory,
        pairs=beside(steps_of(trajectory, resting, None), []),
        names=["you" if move.by == PERSON else move.by for move in game.moves], clues=game.clues() if game.over else (),
        proposal=list(parts_of(cut(proposal.text).shown)) if proposal else None, reward=reward,
        saved=_saved(seat) if game.over else None, choice=seat.choice, changed=changes_of(trajectory),
    )  # fmt: skip


def _resting(question: Question) -> dict[str, list[str]]:
    return {document: [aspect.title] for aspect in question.rubric.aspects for document in aspect.documents}


def _saved(seat: Seat) -> str | None:
    """Where a game that is over can be looked at again."""
    row = seat.run.index(BRANCHES).row_of(seat.game.id) if seat.run.has(BRANCHES) else None
    return f"{path(seat.run)}/{BRANCHES}/{row}" if row else None


def _place(seat: Seat) -> str:
    return (seat.game.over and _saved(seat)) or f"/live/{seat.id}"


def _listed(questions: QuestionSet, words: str) -> list[Question]:
    wanted, found = words.casefold().split(), list[Question]()
    for position in range(min(len(questions), _LOOKED_AT)):
        question = questions[position]
        text = f"{question.id} {question.user_id} {question.text}".casefold()
        if all(word in text for word in wanted):
            found.append(question)
        if len(found) == _LISTED:
            break
    return found


async def _form(request: Request) -> Mapping[str, str]:
    """What a form of ours sent."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST_FORM:
            raise OptionError("that is more text than a form may send")
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def _to(address: str) -> RedirectResponse:
    return RedirectResponse(quote(address, safe="/%:~"), 303)
