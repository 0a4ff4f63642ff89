"""Games in the browser: new ones, and those that branch off a recorded trajectory."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from secrets import token_hex
from threading import Lock
from types import MappingProxyType
from typing import Any

from ..._util.keys import without_keys
from ...agents.agent import AGENTS, make_agent
from ...agents.models.model import Turn
from ...agents.replay import recorded_turns
from ...agents.rollout import Job
from ...envs.data.profile_controls import swapped
from ...envs.episode import INITIAL_SEARCH_TURN, Episode
from ...envs.question import Question
from ...envs.retrieval import Hit, make_retriever
from ...envs.tools.running import run_call
from ...envs.trajectory import Trajectory, TrajectoryWriter
from ...errors import DataError, OptionError, ProfileGymError
from ...evaluation.evaluate import Settings, reward_for
from ...evaluation.summary import score_of
from ..play.game import Game, GameSetup
from ..play.policy import LazyModel, Policy
from .details import baseline_of
from .library import BRANCHES, Run, inside
from .play_options import PlayOptions
from .templating import trajectory_path
from .trust import is_trusted

_MAX_GAMES = 64  # in memory; the least recently used one is dropped
_MOST_TURNS = 64  # that a model plays at a time


@dataclass
class LiveGame:
    """An open game of a run, with its options and its last error. Branches of a game share its family."""

    id: str
    family: str
    game: Game
    run: Run
    choice: PlayOptions
    error: str | None = None
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)


class LiveGames:
    """The open games, in memory. A finished game is saved in `branches.jsonl` of its run."""

    def __init__(self) -> None:
        self._games: dict[str, LiveGame] = {}
        self._models: dict[str, LazyModel] = {}
        self._lock = Lock()  # pages are made in several threads

    def find(self, game_id: str) -> LiveGame:
        with self._lock:
            try:
                self._games[game_id] = live = self._games.pop(game_id)
            except KeyError:
                raise DataError("this game no longer exists: the server was restarted; begin another") from None
        return live

    async def begin(self, run: Run, question_id: str, choice: PlayOptions) -> LiveGame:
        """Begin a new game on a question of the run's data."""
        settings = choice.settings(run.played_with)
        questions = run.questions.load(settings.data)
        question = swapped(questions.find(question_id), choice.profile, questions)
        agent = make_agent(choice.agent)
        seed = Job(question, agent, data=settings.data).seed(settings.first_seed)
        options = {**settings.options, "id": f"{question_id}:play:{token_hex(4)}", "data": settings.data, "seed": seed}
        other = {"profile": choice.profile} if choice.profile != "own" else None
        return self._add(await Game.begin(question, self._setup(run, settings), parent=other, **options), run, choice)

    async def branch(self, run: Run, parent: Trajectory, turn: int, choice: PlayOptions) -> LiveGame:
        """Begin a game from a turn of a recorded trajectory; earlier turns are copied."""
        asked = run.played_with
        episode = rebuild_episode(parent, run.questions.searched(parent), asked, turn)
        base, _, attempt = parent.id.rpartition(":")
        episode.id = f"{base}~{token_hex(4)}:{attempt}"
        episode.change_top_k(choice.top_k)
        game = Game(
            episode,
            self._setup(run, choice.settings(asked)),
            _recorded_baseline(run, parent),
            parent.agent or "pr2",
            question=swapped(run.questions.find(parent), choice.profile, run.questions.set_of(parent)),
            parent={"id": parent.id, "step": turn, **without_keys(choice.other_than(PlayOptions.of_run(asked)))},
        )
        return self._add(game, run, choice)

    def branch_game(self, live: LiveGame) -> LiveGame:
        """Copy a game in its current state."""
        return self._add(live.game.branch(), live.run, live.choice, live.family)

    def family(self, live: LiveGame) -> list[str]:
        """The ids of a game and its branches, parents first."""
        with self._lock:
            family = [one for one in self._games.values() if one.family == live.family]
        return [one.id for one in sorted(family, key=lambda one: (len(one.game.id), one.game.id))]

    def _add(self, game: Game, run: Run, choice: PlayOptions, family: str | None = None) -> LiveGame:
        name = token_hex(8)
        live = LiveGame(name, family or name, game, run, choice)
        with self._lock:
            self._games[live.id] = live
            while len(self._games) > _MAX_GAMES:
                del self._games[next(iter(self._games))]
        return live

    def _setup(self, run: Run, settings: Settings) -> GameSetup:
        model = self._models.setdefault(settings.model, LazyModel(settings.model))
        policy = Policy(make_agent(settings.agent), model, settings.sampling)

        def keep(trajectory: Trajectory) -> None:
            try:
                with TrajectoryWriter(inside(run.path, f"{BRANCHES}.jsonl")) as writer:
                    writer.write(trajectory)
            except OSError as error:
                raise OptionError(f"the game cannot be saved: {error}") from error

        return GameSetup(make_retriever(settings.retriever), reward_for(settings), policy, keep)


def saved(live: LiveGame) -> str | None:
    """The page of a finished game's trajectory."""
    row = live.run.index(BRANCHES).row_of(live.game.id) if live.run.has(BRANCHES) else None
    return trajectory_path(live.run, BRANCHES, row) if row else None


def rebuild_episode(trajectory: Trajectory, question: Question, settings: Settings, turns: int) -> Episode:
    """The episode before a turn, rebuilt from the record with its recorded hits."""
    told, searches = recorded_turns(trajectory), trajectory.searches
    if not 0 <= turns < len(told):
        raise OptionError(f"turn {turns + 1}: this trajectory has {len(told)}; branch from one of them")
    episode, segment_tokens = (
        _begin_episode(trajectory, question, settings),
        [segment.tokens for segment in trajectory.segments],
    )
    for turn in range(INITIAL_SEARCH_TURN, turns):
        if turn != INITIAL_SEARCH_TURN:
            written = told[turn]
            episode.write(written.text, written.tokens, written.logprobs, segment_tokens)
        while episode.needs in ("call", "search"):
            if episode.needs == "call":
                run_call(episode)
                continue
            posts, found = question.profile.by_id, searches[len(episode.search_ms)]
            missing = [document for document, _ in found.hits if document not in posts]
            if missing:
                raise DataError(f"the profile has changed since the recording: post {missing[0]!r} is missing")
            episode.add_hits([Hit(posts[document], score or 0.0) for document, score in found.hits], found.ms)
    said = trajectory.segments[: len(episode.segments)]
    if [(s.author, s.text) for s in episode.segments] != [(s.author, s.text) for s in said]:
        raise DataError(
            "the transcript cannot be rebuilt exactly: the run's recipe has other options, or this branch searched "
            "another profile; then branch from its parent"
        )
    return episode


def _begin_episode(trajectory: Trajectory, question: Question, settings: Settings) -> Episode:
    name = (trajectory.agent or settings.agent).partition("+")[0]
    agent = make_agent(name if is_trusted(name, AGENTS) else settings.agent)
    options = {**settings.options, "kind": trajectory.kind, "data": trajectory.data, "seed": trajectory.seed}
    return agent.begin(question, **options)


async def act(live: LiveGame, what: str, text: str, fields: Mapping[str, str] = MappingProxyType({})) -> None:
    """One action of the person. An error is shown on the page and changes nothing.

    A call has its tool and its arguments in `fields`: `tool`, and `arg.NAME` of each.
    """
    game = live.game
    async with live.busy:
        live.error = None
        try:
            match what:
                case "search":
                    await game.search(text)
                case "answer":
                    await game.answer(text)
                case "call":
                    arguments = {n.removeprefix("arg."): text for n, text in fields.items() if n.startswith("arg.")}
                    await game.call_form(fields.get("tool", ""), arguments)
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
                    raise OptionError(f"unknown action {what!r}")
        except ProfileGymError as error:
            live.error = str(error)


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
