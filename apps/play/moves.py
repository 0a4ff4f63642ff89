"""What a game shows of its turns: who moved, what was found, and what the answer rests on."""

from dataclasses import dataclass

from ...agents.models.model import Turn
from ...envs.action import Action, parse_action
from ...envs.episode import INITIAL_SEARCH_TURN, Episode
from ...envs.question import Document
from ...envs.trajectory import Search
from .matching import Span, matches


@dataclass(frozen=True, slots=True)
class Shown:
    """A hit, as the policy was shown it; `marks` are the stretches of its line that match the query."""

    document: Document
    score: float
    line: str
    marks: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A search and what it showed."""

    query: str
    hits: tuple[Shown, ...]


@dataclass(frozen=True, slots=True)
class Move:
    """One turn: who wrote it, what, what it asked for, and what a search showed."""

    by: str
    turn: Turn
    action: Action
    found: Found | None


@dataclass(frozen=True, slots=True)
class Clue:
    """A document that an aspect of a good answer rests on, and whether any search showed it.

    `document` is None where the game is played with somebody else's posts.
    """

    aspect: str
    document_id: str
    document: Document | None
    found: bool


def opening_of(episode: Episode) -> Found | None:
    """What the environment itself searched for before the first move."""
    first = next(iter(episode.searches), None)
    return found_by(episode, first) if first and first.turn == INITIAL_SEARCH_TURN else None


def moves_of(episode: Episode, by: str) -> tuple[Move, ...]:
    found = {search.turn: found_by(episode, search) for search in episode.searches}
    written = [segment for segment in episode.segments if segment.author == "policy"]
    return tuple(
        Move(by, Turn(text, tokens, logprobs), parse_action(text, episode.protocol), found.get(number))
        for number, (_, text, tokens, logprobs) in enumerate(written)
    )


def found_by(episode: Episode, search: Search) -> Found:
    profile = episode.question.profile
    lines = [
        (profile.by_id[document], score, profile.lines[episode.hit_chars][document]) for document, score in search.hits
    ]
    return Found(search.query, tuple(Shown(*hit, matches(search.query, hit[-1])) for hit in lines))
