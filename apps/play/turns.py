"""The turns of a game: who took them, what their searches and calls found, and the evidence for a good answer."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ...agents.models.model import Turn
from ...envs.action import Action, parse_action
from ...envs.episode import INITIAL_SEARCH_TURN, Episode
from ...envs.question import Document
from ...envs.retrieval.analyzer import analyze, analyze_with_spans
from ...envs.trajectory import Search

Span = tuple[int, int]
_BLOCK = re.compile(r"<information>\n(.*?)\n</information>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ShownHit:
    """A hit as the policy reads it; `marks` are the spans of its line that match the query."""

    document: Document
    score: float | None
    line: str
    marks: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A query, or a call as text, and its hits. `text`: what a tool returned in place of documents, or a refusal."""

    query: str
    hits: tuple[ShownHit, ...]
    text: str | None = None


@dataclass(frozen=True, slots=True)
class GameTurn:
    """One turn: who wrote it, its text, its first action, and the results of its search or its calls."""

    by: str
    turn: Turn
    action: Action
    found: tuple[SearchResult, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A document with the evidence for an aspect, and whether a search found it.

    `document` is None if the game is played with another user's posts.
    """

    aspect: str
    document_id: str
    document: Document | None
    found: bool


def initial_search(episode: Episode) -> SearchResult | None:
    """The search that the environment made before the first turn."""
    first = next(iter(episode.searches), None)
    return search_result(episode, first) if first and first.turn == INITIAL_SEARCH_TURN else None


def turns_of(episode: Episode, by: str) -> tuple[GameTurn, ...]:
    written = [segment for segment in episode.segments if segment.author == "policy"]
    return tuple(
        GameTurn(by, Turn(text, tokens, logprobs), _action(text, episode), results_of(episode, number))
        for number, (_, text, tokens, logprobs) in enumerate(written)
    )


def results_of(episode: Episode, turn: int) -> tuple[SearchResult, ...]:
    """What the calls of a turn returned, in order. The first has a refusal as the turn's action, so it is not here."""
    searches = iter([search for search in episode.searches if search.turn == turn])
    found = []
    for place, text in enumerate(_observations(episode, turn)):
        if block := _BLOCK.search(text):
            search = next(searches)
            result = search_result(episode, search)
            found.append(replace(result, text=block[1]) if search.returned_text else result)
        elif place:
            found.append(SearchResult("", (), text.strip().partition("\n")[0]))
    return tuple(found)


def _observations(episode: Episode, turn: int) -> Iterator[str]:
    """The environment's texts after a turn of the policy."""
    number = -1
    for segment in episode.segments:
        if segment.author == "policy":
            number += 1
        elif number == turn:
            yield segment.text


def _action(text: str, episode: Episode) -> Action:
    return parse_action(text, episode.protocol, episode.tools, episode.cites is not None)


def search_result(episode: Episode, search: Search) -> SearchResult:
    profile = episode.question.profile
    lines = [
        (profile.by_id[document], score, profile.lines[episode.line_form][document]) for document, score in search.hits
    ]
    return SearchResult(search.query, tuple(ShownHit(*hit, matches(search.query, hit[-1])) for hit in lines))


def matches(query: str, text: str) -> tuple[Span, ...]:
    """Spans of the words of the text whose bm25 terms are in the query."""
    wanted = set(analyze(query))
    return tuple((start, end) for term, start, end in analyze_with_spans(text) if term in wanted)
