"""The steps of a transcript: who wrote what, what is in the loss, and what each search showed."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from math import exp
from typing import Literal

from ...envs.tools.results import numbered_lines
from ...envs.trajectory import Search, Segment, Trajectory
from ..play.turns import matches

LONGEST = 20_000  # characters of a text on a page; the rest is in the line
_MATCHED = 4_000  # characters of a hit that are searched for matching words

_TAG = re.compile(
    r"""(<\s*+(think|search|tool|answer)(?:\s++cites\s*+=\s*+(?:"[^"<>]*+"|'[^'<>]*+'))?+\s*+>)(.*?)(<\s*+/\s*+\2\s*+>|\Z)""",
    re.DOTALL | re.IGNORECASE,
)
_BLOCK = re.compile(r"<information>\n?(.*?)\n?</information>", re.DOTALL)

PartKind = Literal["think", "search", "tool", "answer", "text"]
_KINDS: Mapping[str, PartKind] = {"think": "think", "search": "search", "tool": "tool", "answer": "answer"}
Piece = tuple[str, bool]  # text, and whether it matched


@dataclass(frozen=True, slots=True)
class Text:
    """The shown part of a text, and the number of characters left out."""

    shown: str
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """Policy text between two tags, or outside of any."""

    kind: PartKind
    text: Text


@dataclass(frozen=True, slots=True)
class Hit:
    """One line that a search showed. `aspects`: those it has evidence for. `anchor`: set if the answer cites it."""

    document: str
    score: float | None
    pieces: Sequence[Piece]
    aspects: Sequence[str]
    anchor: str | None = None


@dataclass(frozen=True, slots=True)
class Citation:
    """A document that the answer names, and the anchor of its hit; None if no search showed it."""

    document: str
    anchor: str | None


@dataclass(frozen=True, slots=True)
class Sought:
    turn: int
    query: str
    hits: Sequence[Hit]
    ms: float | None


@dataclass(frozen=True, slots=True)
class Step:
    """One segment. `turn` counts policy segments; `after` is the environment's text after hits."""

    number: int
    author: str
    turn: int | None
    parts: Sequence[Part]
    raw: Text
    sought: Sought | None
    after: str
    trained: bool | None  # None in a live game
    sure: float | None  # mean probability of the sampled tokens, if recorded
    cites: Sequence[Citation] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """A step beside a step of the baseline."""

    step: Step | None
    baseline: Step | None


EvidenceAspects = Mapping[str, Sequence[str]]  # by document: the aspects it has evidence for


def steps_of(trajectory: Trajectory, evidence: Mapping[int, EvidenceAspects], trained: bool | None) -> list[Step]:
    """`evidence` is by turn, as two profiles may have different documents with the same id."""
    searches: dict[int, list[tuple[int, Search]]] = {}
    for index, search in enumerate(trajectory.searches):
        searches.setdefault(search.turn, []).append((index, search))
    anchors = _anchors(trajectory)
    steps, turn = list[Step](), -1
    for number, segment in enumerate(trajectory.segments):
        if segment.author == "policy":
            turn += 1
            steps.append(_policy_step(number, turn, segment, trained))
        else:
            # A turn may hold several calls: each result with a block is of the turn's next search.
            of_turn = searches.get(turn) if _BLOCK.search(segment.text) else None
            index, made = of_turn.pop(0) if of_turn else (0, None)
            found = made, index, evidence.get(turn, {}), anchors
            steps.append(_environment_step(number, segment, *found, None if trained is None else False))
    if trajectory.cites and steps and steps[-1].author == "policy":
        cites = tuple(Citation(document, anchors.get(document)) for document in trajectory.cites)
        steps[-1] = replace(steps[-1], cites=cites)
    return steps


def beside(steps: Sequence[Step], baseline: Sequence[Step]) -> list[Pair]:
    """Pairs the first steps and the last steps: prompt beside prompt, answer beside answer."""
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
    """Policy text by its tags."""
    end = 0
    for found in _TAG.finditer(text):
        yield from _plain(text[end : found.start()])
        yield Part(_KINDS[found[2].lower()], cut(found[3].strip()))
        end = found.end()
    yield from _plain(text[end:])


def pieces_of(query: str, line: str) -> list[Piece]:
    """A line split at the words that match the query."""
    pieces, end = [], 0
    for start, stop in matches(query, line[:_MATCHED]):
        pieces += [(line[end:start], False), (line[start:stop], True)]
        end = stop
    return [piece for piece in (*pieces, (cut(line[end:]).shown, False)) if piece[0]]


def _plain(text: str) -> Iterator[Part]:
    if text.strip():
        yield Part("text", cut(text.strip()))


def _policy_step(number: int, turn: int, segment: Segment, trained: bool | None) -> Step:
    text = segment.text[: 4 * LONGEST]
    logprobs = [value for value in segment.logprobs or () if value is not None]
    sure = exp(min(0.0, sum(logprobs) / len(logprobs))) if logprobs else None
    return Step(number, "policy", turn, tuple(parts_of(text)), cut(segment.text), None, "", trained, sure)


def _anchors(trajectory: Trajectory) -> dict[str, str]:
    """By document that the answer cites: the anchor of the hit that showed it first."""
    searches = enumerate(trajectory.searches)
    hits = [(index, rank, hit[0]) for index, search in searches for rank, hit in enumerate(search.hits, 1)]
    cited = set(trajectory.cites or ())
    return {document: _anchor(index, rank) for index, rank, document in reversed(hits) if document in cited}


def _anchor(index: int, rank: int) -> str:
    """Of a hit of the search with this index: a turn may have several."""
    return f"hit-{index + 1}-{rank}"


def _environment_step(
    number: int,
    segment: Segment,
    search: Search | None,
    index: int,
    evidence: EvidenceAspects,
    anchors: Mapping[str, str],
    trained: bool | None,
) -> Step:
    text = cut(segment.text)
    block = _BLOCK.search(segment.text) if search else None
    if search is None or block is None or (search.tool is not None and not search.hits):
        return Step(number, "environment", None, (Part("text", text),), text, None, "", trained, None)
    lines = numbered_lines(block[1])
    places = [_anchor(index, rank) for rank in range(1, len(search.hits) + 1)]
    hits = [
        Hit(
            document, score, pieces_of(search.query, line or ""), evidence.get(document, ()),
            place if anchors.get(document) == place else None,
        )
        for ((document, score), line), place in zip(
            zip_longest(search.hits, lines[: len(search.hits)]), places, strict=True
        )
    ]  # fmt: skip
    before = segment.text[: block.start()].strip()
    parts = (Part("text", cut(before)),) if before else ()
    sought = Sought(search.turn, search.query, hits, search.ms)
    return Step(number, "environment", None, parts, text, sought, segment.text[block.end() :].strip(), trained, None)
