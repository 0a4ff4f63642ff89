"""A question from the policy's chair: picked, and played to its end."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from ....envs.data import QuestionSet
from ....envs.question import Question
from ....envs.trajectory import Trajectory
from ...play.game import PERSON
from ..choice import Choice, Known
from ..forms import lines_of, sent, to
from ..games import LiveGame, act, saved
from ..library import Run
from ..reading import chosen_for, parent_of, whose_at
from ..site import Here
from ..steps import Resting, beside, cut, parts_of, steps_of

_LISTED = 40  # questions to pick from
_LOOKED_AT = 2_000  # of a data set's questions, for words that they hold

at = APIRouter()


@at.get("/run/{key}/live")
def start(site: Here, key: str, words: str = "") -> HTMLResponse:
    run = site.library.find(key)
    questions, known = run.questions.load(run.played_with.data), Known.here(site.library.models())
    return site.show(
        "start.html", f"Play a question of {key}", here="live", run=run, known=known,
        choice=Choice.of_run(run.played_with), found=_listed(questions, words), words=words, of=len(questions),
    )  # fmt: skip


@at.post("/run/{key}/live")
async def begin(request: Request, site: Here, key: str) -> RedirectResponse:
    run, form = site.library.find(key), await sent(request)
    choice = Choice.of_run(run.played_with).filled_in(form)
    live = await site.stage.play(site.seats.begin(run, form.get("question", ""), choice))
    return to(f"/live/{live.id}")


@at.get("/live/{game_id}")
def live(site: Here, game_id: str) -> HTMLResponse:
    return _page(site, site.seats.find(game_id))


@at.post("/live/{game_id}")
async def move(request: Request, site: Here, game_id: str) -> RedirectResponse:
    played, form = site.seats.find(game_id), await sent(request)
    if form.get("do") == "apart":
        return to(f"/live/{site.seats.apart(played).id}")
    await site.stage.play(act(played, form.get("do", ""), lines_of(form)))
    return to(f"/live/{played.id}")


def _page(site: Here, live: LiveGame) -> HTMLResponse:
    game, trajectory = live.game, live.game.trajectory()
    resting = _resting(live.run, game.question, trajectory) if game.over else {}
    return site.show(
        "live.html", game.question.text, here="live", run=live.run, live=live, game=game,
        family=site.seats.family(live), pairs=beside(steps_of(trajectory, resting, None), []),
        names=["you" if move.by == PERSON else move.by for move in game.moves], clues=game.clues() if game.over else (),
        proposal=list(parts_of(cut(game.proposal.text).shown)) if game.proposal else None, reward=game.episode.reward,
        saved=saved(live) if game.over else None, has_parent=parent_of(live.run, trajectory) is not None,
        choice=live.choice, chosen=chosen_for(trajectory),
    )  # fmt: skip


def _resting(run: Run, question: Question, trajectory: Trajectory) -> dict[int, Resting]:
    found = {document: [aspect.title] for aspect in question.rubric.aspects for document in aspect.documents}
    turns = (search.turn for search in trajectory.searches)
    return {turn: found for turn in turns if whose_at(run, trajectory, turn) == "own"}


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
