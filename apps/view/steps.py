"""A transcript as a person steps through it: who wrote what, what was trained on, what each search showed and why."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from math import exp
from typing import Literal

from ...envs.trajectory import Search, Segment, Trajectory
from ..play.matching import matches

LONGEST = 20_000  # characters of a text that a page shows; the rest is in the line itself
_MATCHED = 4_000  # characters of a hit in which matched words are looked for

_TAG = re.compile(r"(<\s*(think|search|answer)\s*>)(.*?)(<\s*/\s*\2\s*>|\Z)", re.DOTALL | re.IGNORECASE)
_BLOCK = re.compile(r"<information>\n(.*?)\n</information>", re.DOTALL)
_NUMBERED = re.compile(r"^\d+\. (.*)$", re.MULTILINE)

PartKind = Literal["think", "search", "answer", "text"]
Piece = tuple[str, bool]  # a stretch of text, and whether it matched


@dataclass(frozen=True, slots=True)
class Text:
    """What is shown of a text, and how many characters are left out."""

    shown: str
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """What a policy wrote between two tags, or outside of any."""

    kind: PartKind
    text: Text


@dataclass(frozen=True, slots=True)
class Hit:
    """One line that a search showed. `aspects` are those of a good answer that rest on the document."""

    document: str
    score: float
    pieces: Sequence[Piece]
    aspects: Sequence[str]


@dataclass(frozen=True, slots=True)
class Sought:
    query: str
    hits: Sequence[Hit]
    ms: float | None


@dataclass(frozen=True, slots=True)
class Step:
    """One segment. `turn` counts the policy's own; `before` and `after` are what the environment said around hits."""

    number: int
    author: str
    turn: int | None
    parts: Sequence[Part]
    raw: Text
    sought: Sought | None
    after: str
    trained: bool | None  # nobody asks of a live game
    sure: float | None  # the mean probability of the tokens that the policy drew, where recorded


@dataclass(frozen=True, slots=True)
class Pair:
    """A step, and the step of the baseline that stands beside it."""

    step: Step | None
    baseline: Step | None


Resting = Mapping[str, Sequence[str]]  # which aspects of a good answer rest on a document


def steps_of(trajectory: Trajectory, resting: Mapping[int, Resting], trained: bool | None) -> list[Step]:
    """`resting` holds for the search of a turn: what rests on a document does not rest on another's of the same id."""
    searches = {search.turn: search for search in trajectory.searches}
    steps, turn = [], -1
    for number, segment in enumerate(trajectory.segments):
        if segment.author == "policy":
            turn += 1
            steps.append(_written(number, turn, segment, trained))
        else:
            found = searches.get(turn), resting.get(turn, {})
            steps.append(_told(number, segment, *found, None if trained is None else False))
    return steps


def beside(steps: Sequence[Step], baseline: Sequence[Step]) -> list[Pair]:
    """The first with the first and the last with the last: prompt beside prompt, and answer beside answer."""
    if not steps or not baseline:
        return [Pair(step, other) for step, other in zip_longest(steps, baseline)]
    gap: list[Step | None] = [None] * abs(len(steps) - len(baseline))
    longer, shorter = (steps, baseline) if len(steps) >= len(baseline) else (baseline, steps)
    stretched = [*shorter[:-1], *gap, shorter[-1]]
    if longer is steps:
        return [Pair(step, other) for step, other in zip(steps, stretched, strict=True)]
    return [Pair(step, other) for step, other in zip(stretched, baseline, strict=True)]


def cut(text: str) -> Text:
    return Text(text[:LONGEST], max(0, len(text) - LONGEST))


def parts_of(text: str) -> Iterator[Part]:
    """A policy's text by its tags; whatever stands between them is text."""
    end = 0
    for found in _TAG.finditer(text):
        yield from _plain(text[end : found.start()])
        kind: PartKind = {"think": "think", "search": "search", "answer": "answer"}[found[2].lower()]  # type: ignore[assignment]
        yield Part(kind, cut(found[3].strip()))
        end = found.end()
    yield from _plain(text[end:])


def pieces_of(query: str, line: str) -> list[Piece]:
    """A line with the words that match a query apart."""
    pieces, end = [], 0
    for start, stop in matches(query, line[:_MATCHED]):
        pieces += [(line[end:start], False), (line[start:stop], True)]
        end = stop
    return [piece for piece in (*pieces, (cut(line[end:]).shown, False)) if piece[0]]


def _plain(text: str) -> Iterator[Part]:
    if text.strip():
        yield Part("text", cut(text.strip()))


def _written(number: int, turn: int, segment: Segment, trained: bool | None) -> Step:
    text = segment.text[: 4 * LONGEST]
    logprobs = segment.logprobs
    sure = exp(sum(logprobs) / len(logprobs)) if logprobs else None
    return Step(number, "policy", turn, tuple(parts_of(text)), cut(segment.text), None, "", trained, sure)


def _told(number: int, segment: Segment, search: Search | None, resting: Resting, trained: bool | None) -> Step:
    text = cut(segment.text)
    block = _BLOCK.search(segment.text) if search else None
    if search is None or block is None:
        return Step(number, "environment", None, (Part("text", text),), text, None, "", trained, None)
    lines = _NUMBERED.findall(block[1])
    hits = [
        Hit(document, score, pieces_of(search.query, line or ""), resting.get(document, ()))
        for (document, score), line in zip_longest(search.hits, lines[: len(search.hits)])
    ]
    before = segment.text[: block.start()].strip()
    parts = (Part("text", cut(before)),) if before else ()
    sought = Sought(search.query, hits, search.ms)
    return Step(number, "environment", None, parts, text, sought, segment.text[block.end() :].strip(), trained, None)
