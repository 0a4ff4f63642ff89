"""Play a question in the browser: choose it, then search and answer."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from ....envs.data import QuestionSet
from ....envs.question import Question
from ....envs.trajectory import Trajectory
from ...play.game import PERSON
from ...play.text_view import budget
from ..details import chosen_for, parent_of, whose_at
from ..games import LiveGame, act, saved
from ..library import Run
from ..play_options import KnownNames, PlayOptions
from ..site import SiteDep, read_form, redirect, text_of_form
from ..steps import EvidenceAspects, beside, cut, parts_of, steps_of

_LISTED = 40  # questions at most
_LOOKED_AT = 2_000  # questions of a data set that are searched for words

router = APIRouter()


@router.get("/run/{key}/live")
def start(site: SiteDep, key: str, words: str = "") -> HTMLResponse:
    run = site.library.find(key)
    questions, known = run.questions.load(run.played_with.data), KnownNames.here(site.library.models())
    return site.show(
        "new_game.html", f"Play a question of {key}", here="live", run=run, known=known,
        choice=PlayOptions.of_run(run.played_with), found=_listed(questions, words), words=words, of=len(questions),
    )  # fmt: skip


@router.post("/run/{key}/live")
async def begin(request: Request, site: SiteDep, key: str) -> RedirectResponse:
    run, form = site.library.find(key), await read_form(request)
    choice = PlayOptions.of_run(run.played_with).filled_in(form)
    live = await site.loop.run(site.games.begin(run, form.get("question", ""), choice))
    return redirect(f"/live/{live.id}")


@router.get("/live/{game_id}")
def live(site: SiteDep, game_id: str) -> HTMLResponse:
    return _page(site, site.games.find(game_id))


@router.post("/live/{game_id}")
async def move(request: Request, site: SiteDep, game_id: str) -> RedirectResponse:
    played, form = site.games.find(game_id), await read_form(request)
    if form.get("do") == "branch":
        return redirect(f"/live/{site.games.branch_game(played).id}")
    await site.loop.run(act(played, form.get("do", ""), text_of_form(form), form))
    return redirect(f"/live/{played.id}")


def _page(site: SiteDep, live: LiveGame) -> HTMLResponse:
    game, trajectory = live.game, live.game.trajectory()
    evidence = _evidence(live.run, game.question, trajectory) if game.over else {}
    return site.show(
        "live.html", game.question.text, here="live", run=live.run, live=live, game=game,
        family=site.games.family(live), pairs=beside(steps_of(trajectory, evidence, None), []),
        names=["you" if turn.by == PERSON else turn.by for turn in game.turns],
        evidence=game.evidence() if game.over else (),
        proposal=list(parts_of(cut(game.proposal.text).shown)) if game.proposal else None, reward=game.episode.reward,
        saved=saved(live) if game.over else None, has_parent=parent_of(live.run, trajectory) is not None,
        left=budget(game), choice=live.choice, chosen=chosen_for(trajectory),
    )  # fmt: skip


def _evidence(run: Run, question: Question, trajectory: Trajectory) -> dict[int, EvidenceAspects]:
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
