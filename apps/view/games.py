"""Games in the browser: new ones, and those that branch off a recorded trajectory."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

from ...agents.agent import AGENTS, make_agent
from ...agents.models.model import Turn
from ...agents.replay import recorded_turns
from ...agents.rollout import Job
from ...envs.chat import Sampling
from ...envs.data.profile_controls import swapped
from ...envs.episode import INITIAL_SEARCH_TURN, Episode
from ...envs.question import Question
from ...envs.retrieval import Hit, make_retriever
from ...envs.trajectory import Trajectory, TrajectoryWriter
from ...errors import DataError, OptionError, ProfileGymError
from ...evaluation.evaluate import Settings, reward_for
from ...evaluation.summary import score_of
from ..play.game import Game, Table
from ..play.policy import LateModel, Policy
from .choice import Choice
from .files import inside
from .library import BRANCHES, Run
from .reading import baseline_of
from .show import place

_SEATS = 64  # that are remembered; the one that was left longest ago is given up
_MOST_TURNS = 64  # that a model plays by itself before a person is asked again


@dataclass
class LiveGame:
    """A game that somebody plays: of which run, with what; and what went wrong last. Its branches share its family."""

    id: str
    family: str
    game: Game
    run: Run
    choice: Choice
    trouble: str | None = None
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)


class Seats:
    """Kept in memory while the server runs; a game that is over is in `branches.jsonl` of its run."""

    def __init__(self) -> None:
        self._seats: dict[str, LiveGame] = {}
        self._models: dict[str, LateModel] = {}

    def find(self, seat_id: str) -> LiveGame:
        try:
            self._seats[seat_id] = live = self._seats.pop(seat_id)
        except KeyError:
            raise DataError("this game is no longer at hand: the server was started anew; begin another") from None
        return live

    async def begin(self, run: Run, question_id: str, choice: Choice) -> LiveGame:
        """A question of the run's data, from the start."""
        settings = choice.settings(run.played_with)
        questions = run.questions.load(settings.data)
        question = swapped(questions.find(question_id), choice.profile, questions)
        agent = make_agent(choice.agent)
        seed = Job(question, agent, data=settings.data).seed(settings.first_seed)
        options = {**settings.options, "id": f"{question_id}:play:{token_hex(4)}", "data": settings.data, "seed": seed}
        other = {"profile": choice.profile} if choice.profile != "own" else None
        return self._seated(
            await Game.begin(question, self._table(run, settings), parent=other, **options), run, choice
        )

    async def branch(self, run: Run, parent: Trajectory, turn: int, choice: Choice) -> LiveGame:
        """From before that turn of a recorded trajectory; all that was said until then is kept word for word."""
        asked = run.played_with
        episode = retold(parent, run.questions.searched(parent), asked, turn)
        base, _, attempt = parent.id.rpartition(":")
        episode.id = f"{base}~{token_hex(4)}:{attempt}"
        episode.fetch_k = episode.fetch_k // episode.top_k * choice.top_k
        episode.top_k = choice.top_k
        game = Game(
            episode,
            self._table(run, choice.settings(asked)),
            _recorded_baseline(run, parent),
            parent.agent or "pr2",
            question=swapped(run.questions.find(parent), choice.profile, run.questions.set_of(parent)),
            parent={"id": parent.id, "step": turn, **choice.other_than(Choice.of_run(asked))},
        )
        return self._seated(game, run, choice)

    def apart(self, live: LiveGame) -> LiveGame:
        """Another seat, from where the game stands now."""
        return self._seated(live.game.branch(), live.run, live.choice, live.family)

    def family(self, live: LiveGame) -> list[str]:
        """The game's own id and those of its branches at hand, each behind the one that it came from."""
        family = (one for one in self._seats.values() if one.family == live.family)
        return [one.id for one in sorted(family, key=lambda one: (len(one.game.id), one.game.id))]

    def _seated(self, game: Game, run: Run, choice: Choice, family: str | None = None) -> LiveGame:
        name = token_hex(8)
        live = LiveGame(name, family or name, game, run, choice)
        self._seats[live.id] = live
        while len(self._seats) > _SEATS:
            del self._seats[next(iter(self._seats))]
        return live

    def _table(self, run: Run, settings: Settings) -> Table:
        model = self._models.setdefault(settings.model, LateModel(settings.model))
        sampling = Sampling(settings.temperature, settings.top_p, settings.turn_tokens)
        policy = Policy(make_agent(settings.agent), model, sampling)

        def keep(trajectory: Trajectory) -> None:
            with TrajectoryWriter(inside(run.path, f"{BRANCHES}.jsonl")) as writer:
                writer.write(trajectory)

        return Table(make_retriever(settings.retriever), reward_for(settings), policy, keep)


def saved(live: LiveGame) -> str | None:
    """Where a game that is over can be looked at again."""
    row = live.run.index(BRANCHES).row_of(live.game.id) if live.run.has(BRANCHES) else None
    return place(live.run, BRANCHES, row) if row else None


def retold(trajectory: Trajectory, question: Question, settings: Settings, turns: int) -> Episode:
    """The episode as it stood before a turn, from the record alone: what was found is what was found then."""
    told, searches = recorded_turns(trajectory), {search.turn: search for search in trajectory.searches}
    if not 0 <= turns < len(told):
        raise OptionError(f"turn {turns + 1}: this trajectory has {len(told)}; branch from one of them")
    episode, segment_tokens = (
        _begun(trajectory, question, settings),
        [segment.tokens for segment in trajectory.segments],
    )
    for turn in range(INITIAL_SEARCH_TURN, turns):
        if turn != INITIAL_SEARCH_TURN:
            written = told[turn]
            episode.write(written.text, written.tokens, written.logprobs, segment_tokens)
        if episode.needs == "search":
            posts, found = question.profile.by_id, searches[turn]
            missing = [document for document, _ in found.hits if document not in posts]
            if missing:
                raise DataError(f"the posts are not those that were searched: {missing[0]!r} is not among them")
            episode.add_hits([Hit(posts[document], score) for document, score in found.hits], found.ms)
    said = trajectory.segments[: 2 * turns + 1]
    if [(s.author, s.text) for s in episode.segments] != [(s.author, s.text) for s in said]:
        raise DataError(
            "what was said until then cannot be told again word for word: the run's recipe tells other options, "
            "or this is a branch that went on with other posts; then branch off its parent"
        )
    return episode


def _begun(trajectory: Trajectory, question: Question, settings: Settings) -> Episode:
    name = (trajectory.agent or settings.agent).partition("+")[0]
    known = name.partition(":")[0] in AGENTS.names()
    agent = make_agent(name if known else settings.agent)
    options = {**settings.options, "kind": trajectory.kind, "data": trajectory.data, "seed": trajectory.seed}
    return agent.begin(question, **options)


async def act(live: LiveGame, what: str, text: str) -> None:
    """One thing that a person does; what goes wrong is told on the page, and changes nothing."""
    game = live.game
    async with live.busy:
        live.trouble = None
        try:
            match what:
                case "search":
                    await game.search(text)
                case "answer":
                    await game.answer(text)
                case "write":
                    await game.write(Turn(text))
                case "ask":
                    await game.ask()
                case "take":
                    await game.take()
                case "finish":
                    await _finish(game)
                case "undo":
                    game.undo()
                case "baseline":
                    await game.play_baseline()
                case _:
                    raise OptionError(f"{what!r} is nothing that can be done here")
        except ProfileGymError as error:
            live.trouble = str(error)


async def _finish(game: Game) -> None:
    for _ in range(_MOST_TURNS):
        if game.over:
            return
        await game.take()


def _recorded_baseline(run: Run, trajectory: Trajectory) -> Mapping[str, Any] | None:
    if trajectory.baseline is not None:
        return trajectory.baseline
    baseline = baseline_of(run, trajectory)
    return {"answer": baseline.answer, "score": score_of(baseline)} if baseline else None
