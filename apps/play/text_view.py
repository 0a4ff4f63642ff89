"""A game as lines of text, for all terminals. Control characters are made visible."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ..._util.terminal import printable
from ...envs.action import Answer, Call, Malformed, SearchProfile
from ...envs.reward import AspectMatch, Reward
from ...envs.tools.results import written
from .game import PERSON, Game
from .turns import Evidence, GameTurn, SearchResult, Span

Kind = Literal["head", "text", "faint", "good", "fair", "bad"]
_THOUGHT = re.compile(r"<think>(.*?)(?:</think>|\Z)", re.DOTALL)
_COVERED: dict[int, tuple[Kind, str]] = {0: ("bad", "not covered"), 1: ("fair", "somewhat"), 2: ("good", "very well")}

_FOUND: dict[bool, tuple[Kind, str]] = {False: ("bad", "missed"), True: ("good", "found")}


@dataclass(frozen=True, slots=True)
class Line:
    """One paragraph; `marks` are the spans that match a query."""

    kind: Kind
    text: str
    indented: bool = False
    marks: tuple[Span, ...] = ()


def parts(game: Game) -> Iterator[list[Line]]:
    """The question, each turn, and the end or the policy's proposal; without the baseline."""
    yield list(opening(game))
    for number in range(len(game.turns)):
        yield list(turn(game, number))
    if game.over:
        yield list(ending(game))
    elif game.proposal:
        yield list(proposal(game))


def latest(game: Game) -> Iterator[Line]:
    """The last turn, and the end if the game is over."""
    yield from turn(game, len(game.turns) - 1)
    if game.over:
        yield from ending(game)


def opening(game: Game) -> Iterator[Line]:
    """The question, and the search that the environment made before the first turn."""
    question = game.question
    date = f", {question.date}" if question.date else ""
    yield _line("faint", f"Question {question.id} by {question.user_id}{date}")
    yield _line("head", _one_line(question.text))
    if game.episode.tools is not None:
        yield _line("faint", f"Tools: {game.episode.tools.signatures}")
    if game.opening:
        yield _line("faint", "Searched for the question before the first turn.")
        yield from _hits(game.opening)


def turn(game: Game, number: int) -> Iterator[Line]:
    """One turn and its result."""
    made = game.turns[number]
    yield from _thought(made)
    match made.action:
        case SearchProfile(query):
            yield _line("head", f"{number + 1}. {_who(made)} searched for: {_one_line(query)}")
        case Call():
            yield _line("head", f"{number + 1}. {_who(made)} called {_one_line(written(made.action))}")
        case Answer(text, cites):
            yield _line("head", f"{number + 1}. {_who(made)} answered: {text}")
            if cites:
                yield _line("faint", f"It cites {', '.join(cites)}.", True)
        case Malformed(reason):
            yield _line("head", f"{number + 1}. {_who(made)} wrote neither a search nor an answer.")
            yield _line("bad", reason)
    for place, found in enumerate(made.found):
        if len(made.found) > 1 and found.query:
            yield _line("faint", f"Result {place + 1}: {_one_line(found.query)}", True)
        yield from _hits(found)
    if number == len(game.turns) - 1 and not isinstance(made.action, Answer) and game.episode.answer is not None:
        yield _line("head", f"{number + 1}. {_who(made)} answered in the same turn: {game.episode.answer}")


def budget(game: Game) -> str:
    """Searches or calls left, posts that may still be shown, and posts not seen."""
    left, posts = game.episode.searches_left, len(game.question.profile)
    one, many = ("search", "searches") if game.episode.tools is None else ("call", "calls")
    searches = f"no {many} left: answer now" if not left else f"{left} {one if left == 1 else many} left"
    limit = game.episode.documents_left
    shown = f"; {limit} more can be shown" if left and limit is not None else ""
    return f"{searches}{shown}; {game.unseen} of {posts} posts unseen"


def proposal(game: Game) -> Iterator[Line]:
    """The text that the policy would write, if it was asked."""
    if game.proposal:
        yield _line("faint", f"{_policy(game)} would write:")
        yield _line("text", game.proposal.text.strip())


def ending(game: Game) -> Iterator[Line]:
    """The verdict by aspect, and the evidence found and missed."""
    episode = game.episode
    how = {"answered": "answered", "budget": "no answer within the budget of turns"}.get(str(episode.ended))
    yield _line("head", f"The game is over: {how or episode.ended}. {_worth(episode.reward)}")
    verdict = episode.reward.verdict if episode.reward else None
    for aspect in verdict.aspects if verdict else ():
        yield _aspect(aspect)
    if episode.reward and episode.reward.flags:
        yield _line("fair", f"Flags of the answer: {', '.join(episode.reward.flags)}")
    yield from _evidence(game.evidence())


def baseline(game: Game) -> Iterator[Line]:
    """The answer without the profile, if known, and both scores."""
    if game.baseline is None:
        return
    answer, score = game.baseline.get("answer"), game.baseline.get("score")
    name = game.setup.policy.model.name if game.setup.policy else "the policy"
    yield _line("head", f"Without the profile {name} answers: {answer if answer is not None else 'nothing'}")
    mine = game.episode.reward.total if game.episode.reward else None
    beside = f"{_figure(score)} without the profile, {_figure(mine)} here"
    gain = f"; gain {mine - score:+.2f}" if mine is not None and score is not None else ""
    yield _line("text", f"Scores: {beside}{gain}")


def _thought(made: GameTurn) -> Iterator[Line]:
    if made.by == PERSON:
        return
    thought = "\n".join(_THOUGHT.findall(made.turn.text)) or made.turn.text
    yield _line("faint", f"{_who(made)} thinks: {_one_line(thought)}")


def _hits(found: SearchResult) -> Iterator[Line]:
    if found.text is not None:
        yield _line("text", found.text, True)
        return
    for rank, hit in enumerate(found.hits, 1):
        place = f"{rank}. " + ("" if hit.score is None else f"{hit.score:.2f}  ")
        marks = tuple((start + len(place), end + len(place)) for start, end in hit.marks)
        yield Line("text", printable(place + hit.line), True, marks)
    if not found.hits:
        yield _line("faint", "Nothing more was found.", True)


def _aspect(aspect: AspectMatch) -> Line:
    kind, covered = _COVERED[aspect.match]
    return _line(kind, f"{aspect.title}: {covered}{f' ({aspect.reason})' if aspect.reason else ''}", True)


def _evidence(evidence: list[Evidence]) -> Iterator[Line]:
    if not evidence:
        return
    found = sum(one.found for one in evidence)
    yield _line("head", f"Evidence in the history: {found} of {len(evidence)} found")
    for one in evidence:
        post = (
            _one_line(one.document.head + one.document.text)
            if one.document
            else "in a history that this game is not played with"
        )
        kind, how = _FOUND[one.found]
        yield _line(kind, f"{how}, {one.aspect}: {post}", True)


def _worth(reward: Reward | None) -> str:
    if reward is None or reward.total is None:
        return f"Unscored: {reward.unscored if reward else 'no score was asked for'}"
    parts = ", ".join(f"{name} {worth:.2f}" for name, worth in reward.parts.items()) if len(reward.parts) > 1 else ""
    return f"Score {reward.total:.2f}{f' ({parts})' if parts else ''}"


def _figure(score: float | None) -> str:
    return "unscored" if score is None else f"{score:.2f}"


def _policy(game: Game) -> str:
    policy = game.setup.policy
    return f"{policy.agent.name} ({policy.model.name})" if policy else "the policy"


def _who(made: GameTurn) -> str:
    return "You" if made.by == PERSON else made.by


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _line(kind: Kind, text: str, indented: bool = False) -> Line:
    return Line(kind, printable(text), indented)
