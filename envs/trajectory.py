"""The finished record of an episode, one JSON line each: enough to replay, re-score and train from."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from .._util.jsonl import LineWriter
from ..errors import DataError
from .grammar import structure
from .reward import AspectMatch, Reward, Verdict

SCHEMA = 1
MINUS_INFINITY = (
    "-inf"  # in a line: JSON has no infinity, null is what is not known, and no finite number means the same
)
Kind = Literal["personalised", "baseline"]
Ended = Literal["answered", "budget", "length", "error"]
Author = Literal["environment", "policy"]


class Segment(NamedTuple):
    """A stretch of the transcript and who wrote it; the policy's tokens are kept exactly as sampled."""

    author: Author
    text: str
    tokens: Sequence[int] | None = None
    logprobs: Sequence[float] | None = None


class Search(NamedTuple):
    """One search: in which turn, for what, what was shown (documents by their ids, with scores), how long it took."""

    turn: int
    query: str
    hits: Sequence[tuple[str, float]]
    ms: float | None = None


# Segments and searches are kept flat, field after field: an object for each would keep the garbage collector and the
# processor's cache so busy that a step at 1,024 episodes takes a third longer.
Flat = Sequence[Any]


def segments_of(said: Flat) -> list[Segment]:
    """From `author, text, tokens, logprobs` again and again."""
    return [Segment(*said[start : start + 4]) for start in range(0, len(said), 4)]


def searches_of(sought: Flat, ms: Sequence[float | None]) -> list[Search]:
    """From `turn, query, hits` again and again; how long each took stands apart, as times don't count."""
    return [Search(sought[3 * i], sought[3 * i + 1], sought[3 * i + 2], took) for i, took in enumerate(ms)]


@dataclass(slots=True)
class Trajectory:
    """Unknown is None, never invented. Times don't count when two trajectories are compared."""

    id: str
    question_id: str
    user_id: str
    kind: Kind
    said: Flat
    sought: Flat
    answer: str | None
    ended: Ended | None
    malformed: int = 0
    data: str | None = None
    agent: str | None = None
    model: str | None = None
    prompt: str | None = None  # name and hash of the prompt's text
    seed: int | None = None
    parent: Mapping[str, Any] | None = None  # `id` of the trajectory that this one goes on from, and after which `step`
    verdict: Verdict | None = None
    reward: Reward | None = None
    flags: Sequence[str] = ()  # what is odd about the answer: signs of talking to the judge
    baseline: Mapping[str, Any] | None = None
    advantage: float | None = None
    usage: Mapping[str, Any] | None = None
    timing: Mapping[str, float] | None = field(default=None, compare=False)
    search_ms: Sequence[float | None] = field(default=(), compare=False)
    error: str | None = None

    @property
    def segments(self) -> list[Segment]:
        return segments_of(self.said)

    @property
    def searches(self) -> list[Search]:
        return searches_of(self.sought, self.search_ms)

    @property
    def structure_ok(self) -> bool | None:
        """Whether a finished transcript keeps to the grammar of tags; None where tags were not what was asked for."""
        if self.ended is None or self.prompt is None or not self.prompt.startswith("tags-"):
            return None
        return structure(self.segments).ok

    def to_json(self) -> str:
        """One line of JSON, without its line break."""
        record: dict[str, Any] = {"schema": SCHEMA, **{name: getattr(self, name) for name in _FIELDS}}
        record["segments"] = [_segment_record(segment) for segment in self.segments]
        record["searches"] = [_search_record(search) for search in self.searches]
        record["verdict"] = verdict_record(self.verdict)
        record["reward"] = None if self.reward is None else _reward_record(self.reward)
        try:
            return _as_json(record)
        except ValueError:
            for segment in record["segments"]:
                if "logprobs" in segment:
                    segment["logprobs"] = [MINUS_INFINITY if value == -inf else value for value in segment["logprobs"]]
            return _as_json(record)

    @classmethod
    def from_json(cls, line: str | bytes) -> Self:
        """Raises `DataError` that says what is wrong; fields that are not known to this version are left out."""
        try:
            return cls._from_record(json.loads(line))
        except DataError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DataError(f"not a trajectory: {type(error).__name__}: {error}") from error

    @classmethod
    def _from_record(cls, record: Any) -> Self:
        if not isinstance(record, dict) or record.get("schema") != SCHEMA:
            found = record.get("schema") if isinstance(record, dict) else type(record).__name__
            raise DataError(f"not a trajectory of schema {SCHEMA}: found {found!r}")
        known: dict[str, Any] = {name: record.get(name) for name in _PLAIN}
        known["said"] = [
            value
            for s in record["segments"]
            for value in (s["author"], s["text"], s.get("tokens"), _logprobs_of(s.get("logprobs")))
        ]
        known["sought"] = tuple(value for search in record["searches"] for value in _sought(search))
        known["search_ms"] = tuple(search.get("ms") for search in record["searches"])
        known["verdict"] = verdict = verdict_of(record.get("verdict"))
        known["flags"] = flags = tuple(record.get("flags") or ())
        known["reward"] = _reward(record.get("reward"), verdict, flags)
        return cls(**known)


# In the order of a line; what is not plain JSON has a function of its own below.
_FIELDS = (
    *("id", "question_id", "user_id", "data", "kind", "agent", "model", "prompt", "seed", "parent"),
    *("segments", "searches", "answer", "ended", "verdict", "reward", "flags", "baseline", "advantage"),
    *("structure_ok", "malformed", "usage", "timing", "error"),
)
_NOT_PLAIN = ("segments", "searches", "verdict", "reward", "flags", "structure_ok")
_PLAIN = tuple(name for name in _FIELDS if name not in _NOT_PLAIN)


def _sought(search: Mapping[str, Any]) -> tuple[int, str, tuple[tuple[str, float], ...]]:
    return search["turn"], search["query"], tuple((hit["document"], hit["score"]) for hit in search["hits"])


def _as_json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _logprobs_of(kept: list[Any] | None) -> list[Any] | None:
    if kept is None or MINUS_INFINITY not in kept:
        return kept
    return [-inf if value == MINUS_INFINITY else value for value in kept]


def _segment_record(segment: Segment) -> dict[str, Any]:
    record: dict[str, Any] = {"author": segment.author, "text": segment.text}
    if segment.tokens is not None:
        record["tokens"] = list(segment.tokens)
    if segment.logprobs is not None:
        record["logprobs"] = list(segment.logprobs)
    return record


def _search_record(search: Search) -> dict[str, Any]:
    hits = [{"document": document, "score": score} for document, score in search.hits]
    return {"turn": search.turn, "query": search.query, "hits": hits, "ms": search.ms}


def verdict_record(verdict: Verdict | None) -> dict[str, Any] | None:
    """As plain JSON; `verdict_of` reads it back."""
    if verdict is None:
        return None
    aspects = [{"title": a.title, "match": a.match, "reason": a.reason} for a in verdict.aspects]
    return {"judge": verdict.judge, "score": verdict.score, "aspects": aspects}


def verdict_of(record: Any) -> Verdict | None:
    if record is None:
        return None
    return Verdict(
        record["judge"],
        record["score"],
        tuple(AspectMatch(a["title"], a["match"], a["reason"]) for a in record["aspects"]),
    )


def _reward(record: Any, verdict: Verdict | None, flags: tuple[str, ...]) -> Reward | None:
    if record is None:
        return None
    return Reward(record["total"], record["parts"], verdict, record.get("unscored"), flags)


def _reward_record(reward: Reward) -> dict[str, Any]:
    return {"total": reward.total, "parts": dict(reward.parts), "unscored": reward.unscored}


class TrajectoryWriter(LineWriter):
    """Appends one line an episode."""

    def write(self, trajectory: Trajectory) -> None:
        self.append(trajectory.to_json())


class BadLine(NamedTuple):
    """A line that is not a trajectory, and why."""

    number: int
    problem: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.problem}"


class TrajectoryReader:
    """Reads a file of trajectories one by one; a bad line is named in `bad_lines` and the rest go on."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.bad_lines: list[BadLine] = []

    def __iter__(self) -> Iterator[Trajectory]:
        self.bad_lines.clear()
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield self._read(line)
                except DataError as error:
                    self.bad_lines.append(BadLine(number, str(error)))

    def _read(self, line: bytes) -> Trajectory:
        if not line.endswith(b"\n"):
            raise DataError("the line is not finished; the run was killed or is still writing it")
        return Trajectory.from_json(line)
