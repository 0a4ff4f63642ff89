"""A game in lines: the same words for every terminal. Nothing in them can steer one."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ..._util.terminal import printable
from ...envs.action import Answer, Malformed, SearchProfile
from ...envs.reward import AspectMatch, Reward
from .game import PERSON, Game
from .matching import Span
from .moves import Clue, Found, Move

Kind = Literal["head", "text", "faint", "good", "fair", "bad"]
_THOUGHT = re.compile(r"<think>(.*?)(?:</think>|\Z)", re.DOTALL)
_COVERED: dict[int, tuple[Kind, str]] = {0: ("bad", "not covered"), 1: ("fair", "somewhat"), 2: ("good", "very well")}

_MET: dict[bool, tuple[Kind, str]] = {False: ("bad", "missed"), True: ("good", "found")}


@dataclass(frozen=True, slots=True)
class Line:
    """One paragraph; `marks` are the stretches of it that match a query."""

    kind: Kind
    text: str
    indented: bool = False
    marks: tuple[Span, ...] = ()


def parts(game: Game) -> Iterator[list[Line]]:
    """The question, each turn, the end or what the policy said when it was asked; the baseline is told apart."""
    yield list(opening(game))
    for number in range(len(game.moves)):
        yield list(move(game, number))
    if game.over:
        yield list(ending(game))
    elif game.proposal:
        yield list(proposal(game))


def latest(game: Game) -> Iterator[Line]:
    """What the last turn brought."""
    yield from move(game, len(game.moves) - 1)
    if game.over:
        yield from ending(game)


def opening(game: Game) -> Iterator[Line]:
    """Who asks what, and what the environment found by itself."""
    question = game.question
    date = f", {question.date}" if question.date else ""
    yield _line("faint", f"Question {question.id} by {question.user_id}{date}")
    yield _line("head", _one_line(question.text))
    if game.opening:
        yield _line("faint", "Searched for the question before the first turn.")
        yield from _hits(game.opening)


def move(game: Game, number: int) -> Iterator[Line]:
    """One turn and what came of it."""
    made = game.moves[number]
    yield from _thought(made)
    match made.action:
        case SearchProfile(query):
            yield _line("head", f"{number + 1}. {_who(made)} searched for: {_one_line(query)}")
        case Answer(text):
            yield _line("head", f"{number + 1}. {_who(made)} answered: {text}")
        case Malformed(reason):
            yield _line("head", f"{number + 1}. {_who(made)} wrote neither a search nor an answer.")
            yield _line("bad", reason)
    if made.found:
        yield from _hits(made.found)


def budget(game: Game) -> str:
    """What may still be done, and how much of the history is still unknown."""
    left = game.episode.searches_left
    searches = f"{left} searches left" if left != 1 else "1 search left"
    posts = len(game.question.profile)
    return f"{searches if left else 'no searches left: answer now'}; {game.unseen} of {posts} posts unseen"


def proposal(game: Game) -> Iterator[Line]:
    """What the policy would write, word for word, where it was asked."""
    if game.proposal:
        yield _line("faint", f"{_policy(game)} would write:")
        yield _line("text", game.proposal.text.strip())


def ending(game: Game) -> Iterator[Line]:
    """The verdict by aspect, and the evidence that was found and missed."""
    episode = game.episode
    how = {"answered": "answered", "budget": "no answer within the budget of turns"}.get(str(episode.ended))
    yield _line("head", f"The game is over: {how or episode.ended}. {_worth(episode.reward)}")
    verdict = episode.reward.verdict if episode.reward else None
    for aspect in verdict.aspects if verdict else ():
        yield _aspect(aspect)
    if episode.reward and episode.reward.flags:
        yield _line("fair", f"Odd about the answer: {', '.join(episode.reward.flags)}")
    yield from _clues(game.clues())


def baseline(game: Game) -> Iterator[Line]:
    """The answer without the profile, where it is known, beside the one that was given."""
    if game.baseline is None:
        return
    answer, score = game.baseline.get("answer"), game.baseline.get("score")
    name = game.table.policy.model.name if game.table.policy else "the policy"
    yield _line("head", f"Without the profile {name} answers: {answer if answer is not None else 'nothing'}")
    mine = game.episode.reward.total if game.episode.reward else None
    beside = f"{_figure(score)} without the profile, {_figure(mine)} here"
    gain = f"; gain {mine - score:+.2f}" if mine is not None and score is not None else ""
    yield _line("text", f"Scores: {beside}{gain}")


def _thought(made: Move) -> Iterator[Line]:
    if made.by == PERSON:
        return
    thought = "\n".join(_THOUGHT.findall(made.turn.text)) or made.turn.text
    yield _line("faint", f"{_who(made)} thinks: {_one_line(thought)}")


def _hits(found: Found) -> Iterator[Line]:
    for rank, hit in enumerate(found.hits, 1):
        place = f"{rank}. {hit.score:.2f}  "
        marks = tuple((start + len(place), end + len(place)) for start, end in hit.marks)
        yield Line("text", printable(place + hit.line), True, marks)
    if not found.hits:
        yield _line("faint", "Nothing more was found.", True)


def _aspect(aspect: AspectMatch) -> Line:
    kind, covered = _COVERED[aspect.match]
    return _line(kind, f"{aspect.title}: {covered}{f' ({aspect.reason})' if aspect.reason else ''}", True)


def _clues(clues: list[Clue]) -> Iterator[Line]:
    if not clues:
        return
    found = sum(clue.found for clue in clues)
    yield _line("head", f"Evidence in the history: {found} of {len(clues)} found")
    for clue in clues:
        post = _one_line(clue.document.text) if clue.document else "in a history that this game is not played with"
        kind, how = _MET[clue.found]
        yield _line(kind, f"{how}, {clue.aspect}: {post}", True)


def _worth(reward: Reward | None) -> str:
    if reward is None or reward.total is None:
        return f"Unscored: {reward.unscored if reward else 'no score was asked for'}"
    parts = ", ".join(f"{name} {worth:.2f}" for name, worth in reward.parts.items()) if len(reward.parts) > 1 else ""
    return f"Score {reward.total:.2f}{f' ({parts})' if parts else ''}"


def _figure(score: float | None) -> str:
    return "unscored" if score is None else f"{score:.2f}"


def _policy(game: Game) -> str:
    policy = game.table.policy
    return f"{policy.agent.name} ({policy.model.name})" if policy else "the policy"


def _who(made: Move) -> str:
    return "You" if made.by == PERSON else made.by


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _line(kind: Kind, text: str, indented: bool = False) -> Line:
    return Line(kind, printable(text), indented)
