"""The record of a finished episode as one JSON line: enough to replay it, score it again and train on it."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import starmap
from math import inf, isnan
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from .._util.jsonl import LineWriter
from ..errors import DataError
from .grammar import FORMS, structure
from .reward import AspectMatch, Reward, Verdict

SCHEMA = 1
_MINUS_INFINITY = "-inf"  # JSON has no infinity, and null stands for unknown
Kind = Literal["personalised", "baseline"]
Ended = Literal["answered", "budget", "length", "error"]
Author = Literal["environment", "policy"]


class Segment(NamedTuple):
    """A part of the transcript and its author. The policy's tokens are kept exactly as sampled."""

    author: Author
    text: str
    tokens: Sequence[int] | None = None
    logprobs: Sequence[float] | None = None


class Search(NamedTuple):
    """One search: its turn, its query, the ids and scores of the documents shown, and its duration.

    Where several tools were offered, also the tool and its arguments; the query of a tool without one is the call.
    `returned_text`: the tool returned a text in place of documents.
    """

    turn: int
    query: str
    hits: Sequence[tuple[str, float | None]]
    ms: float | None = None
    tool: str | None = None
    arguments: Mapping[str, Any] | None = None
    returned_text: bool = False


# Episodes keep segments and searches as flat lists of field values. With an object for each, garbage collection and
# cache misses make a step of 1,024 episodes take a third longer.
FlatFields = Sequence[Any]


def segments_of(segment_fields: FlatFields) -> list[Segment]:
    """From `author, text, tokens, logprobs` of each segment in turn."""
    return [Segment(*segment_fields[start : start + 4]) for start in range(0, len(segment_fields), 4)]


def searches_of(search_fields: FlatFields, search_ms: Sequence[float | None], calls: FlatFields = ()) -> list[Search]:
    """From `turn, query, hits` of each search in turn, and from its `tool, arguments, returned_text` if it has them.

    Durations are separate, as comparisons ignore them.
    """
    calls = calls or (None, None, False) * len(search_ms)
    each = zip(*(search_fields[i::3] for i in range(3)), search_ms, *(calls[i::3] for i in range(3)), strict=True)
    return list(starmap(Search, each))


@dataclass(slots=True)
class Trajectory:
    """The record of an episode. Unknown values are None. Comparisons ignore durations."""

    id: str
    question_id: str
    user_id: str
    kind: Kind
    segment_fields: FlatFields
    search_fields: FlatFields
    answer: str | None
    ended: Ended | None
    malformed: int = 0
    cites: Sequence[str] | None = None  # documents that the answer names; None where it was not asked to
    data: str | None = None
    agent: str | None = None
    model: str | None = None
    prompt: str | None = None  # name and hash of the prompt's text
    seed: int | None = None
    parent: Mapping[str, Any] | None = None  # `id` of the trajectory that this one continues after its `step`
    verdict: Verdict | None = None
    reward: Reward | None = None
    flags: Sequence[str] = ()  # signs that the answer addresses the judge
    baseline: Mapping[str, Any] | None = None
    advantage: float | None = None
    turn_advantages: Sequence[float] | None = None  # what each turn of the policy adds to it
    usage: Mapping[str, Any] | None = None
    timing: Mapping[str, float] | None = field(default=None, compare=False)
    search_ms: Sequence[float | None] = field(default=(), compare=False)
    calls: FlatFields = ()
    tools: Sequence[Mapping[str, Any]] | None = None  # their schemas, where there were several in protocol "tools"
    error: str | None = None
    source: Mapping[str, Any] | None = None  # of an imported episode: its file, its place there, and its other fields

    @property
    def segments(self) -> list[Segment]:
        return segments_of(self.segment_fields)

    @property
    def searches(self) -> list[Search]:
        return searches_of(self.search_fields, self.search_ms, self.calls)

    @property
    def prompt_name(self) -> str | None:
        """The prompt without the hash of its text."""
        return self.prompt and self.prompt.partition("-")[0]

    @property
    def structure_ok(self) -> bool | None:
        """Whether the transcript follows the grammar of its protocol. None if it is not finished, or has no prompt."""
        form = self.prompt_name
        if self.ended is None or form is None or form not in FORMS:
            return None
        return structure(self.segments, form, self.cites is not None).ok

    def to_json(self) -> str:
        """One line of JSON, without its line break."""
        record: dict[str, Any] = {"schema": SCHEMA, **{name: getattr(self, name) for name in _FIELDS}}
        record["segments"] = [_segment_record(segment) for segment in self.segments]
        record["searches"] = [_search_record(search) for search in self.searches]
        record["verdict"] = verdict_record(self.verdict)
        for name in _ONLY_WHERE_USED:
            if record[name] is None:
                del record[name]
        for name in ("tools", "source"):
            if getattr(self, name) is not None:
                record[name] = getattr(self, name)
        if (reward := self.reward) is not None:
            record["reward"] = {"total": reward.total, "parts": dict(reward.parts), "unscored": reward.unscored}
        try:
            return _as_json(record)
        except ValueError:
            for segment in record["segments"]:
                if "logprobs" in segment:
                    segment["logprobs"] = [_written(value) for value in segment["logprobs"]]
            return _as_json(record)

    @classmethod
    def from_json(cls, line: str | bytes) -> Self:
        """Raises `DataError` where the line is no trajectory. Fields unknown to this version are ignored."""
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
        fields: dict[str, Any] = {name: record.get(name) for name in _PLAIN}
        for name in _TEXTS:
            if not isinstance(fields[name], str) and (name != "ended" or fields[name] is not None):
                raise DataError(f"not a trajectory: {name} is {str(fields[name])[:60]!r}; expected a text")
        for name in _NUMBERS:
            _check_number(name, fields[name])
        fields["segment_fields"] = [
            value
            for s in record["segments"]
            for value in (s["author"], s["text"], s.get("tokens"), _logprobs_of(s.get("logprobs")))
        ]
        fields["search_fields"] = tuple(value for search in record["searches"] for value in _search_fields(search))
        fields["search_ms"] = tuple(search.get("ms") for search in record["searches"])
        calls = tuple(value for search in record["searches"] for value in _call_fields(search))
        fields["calls"] = calls if any(calls) else ()
        for name, kind in _LISTS.items():
            if fields[name] is not None:
                fields[name] = [kind(value) for value in fields[name]]
        fields["tools"], fields["source"] = record.get("tools"), record.get("source")
        fields["verdict"] = verdict = verdict_of(record.get("verdict"))
        fields["flags"] = flags = tuple(record.get("flags") or ())
        if (reward := record.get("reward")) is not None:
            for name, value in (("total", reward["total"]), *reward["parts"].items()):
                _check_number(f"reward {name}", value)
            reward = Reward(reward["total"], reward["parts"], verdict, reward.get("unscored"), flags)
        return cls(**fields, reward=reward)


# The fields of a line, in order. `_PLAIN` are those whose value is JSON as it is.
_FIELDS = (
    *("id", "question_id", "user_id", "data", "kind", "agent", "model", "prompt", "seed", "parent"),
    *(
        "segments",
        "searches",
        "answer",
        "cites",
        "ended",
        "verdict",
        "reward",
        "flags",
        "baseline",
        "advantage",
        "turn_advantages",
    ),
    *("structure_ok", "malformed", "usage", "timing", "error"),
)
_NOT_PLAIN = ("segments", "searches", "verdict", "reward", "flags", "structure_ok")
_LISTS: Mapping[str, Callable[[Any], Any]] = {"cites": str, "turn_advantages": float}
_ONLY_WHERE_USED = tuple(_LISTS)  # left out of the line where they are None
_TEXTS = ("id", "question_id", "user_id", "kind", "ended")
_NUMBERS = ("malformed", "seed", "advantage")
_PLAIN = tuple(name for name in _FIELDS if name not in _NOT_PLAIN)


def _check_number(name: str, value: object) -> None:
    if value is not None and not isinstance(value, int | float):
        raise DataError(f"not a trajectory: {name} is {str(value)[:60]!r}; expected a number")


def _search_fields(search: Mapping[str, Any]) -> tuple[int, str, tuple[tuple[str, float | None], ...]]:
    return search["turn"], search["query"], tuple((hit["document"], hit["score"]) for hit in search["hits"])


def _call_fields(search: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any] | None, bool]:
    return search.get("tool"), search.get("arguments"), bool(search.get("returned_text"))


def _as_json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _logprobs_of(values: list[Any] | None) -> list[Any] | None:
    if values is None or _MINUS_INFINITY not in values:
        return values
    return [-inf if value == _MINUS_INFINITY else value for value in values]


def _written(logprob: float | None) -> float | str | None:
    """A log-probability in JSON: one that is no number is not known."""
    return _MINUS_INFINITY if logprob == -inf else None if logprob is None or isnan(logprob) else logprob


def _segment_record(segment: Segment) -> dict[str, Any]:
    record: dict[str, Any] = {"author": segment.author, "text": segment.text}
    if segment.tokens is not None:
        record["tokens"] = list(segment.tokens)
    if segment.logprobs is not None:
        record["logprobs"] = list(segment.logprobs)
    return record


def _search_record(search: Search) -> dict[str, Any]:
    hits = [{"document": document, "score": score} for document, score in search.hits]
    called = {} if search.tool is None else {"tool": search.tool, "arguments": search.arguments}
    text = {"returned_text": True} if search.returned_text else {}
    return {"turn": search.turn, "query": search.query, **called, "hits": hits, **text, "ms": search.ms}


def verdict_record(verdict: Verdict | None) -> dict[str, Any] | None:
    """The verdict as JSON values; `verdict_of` reads it back."""
    if verdict is None:
        return None
    return {"judge": verdict.judge, "score": verdict.score, "aspects": list(map(asdict, verdict.aspects))}


def verdict_of(record: Any) -> Verdict | None:
    if record is None:
        return None
    for name, value in (("score", record["score"]), *(("match", one["match"]) for one in record["aspects"])):
        _check_number(f"the verdict's {name}", value)
    aspects = (AspectMatch(str(a["title"]), a["match"], str(a["reason"] or "")) for a in record["aspects"])
    return Verdict(record["judge"], record["score"], tuple(aspects))


class TrajectoryWriter(LineWriter):
    """Appends one line per episode."""

    def write(self, trajectory: Trajectory) -> None:
        self.append(trajectory.to_json())


class BadLine(NamedTuple):
    """The number of a line that is not a trajectory, and the reason."""

    number: int
    problem: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.problem}"


class TrajectoryReader:
    """Reads the trajectories of a file one by one. Bad lines are skipped and listed in `bad_lines`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.bad_lines: list[BadLine] = []

    def __iter__(self) -> Iterator[Trajectory]:
        self.bad_lines.clear()
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    if not line.endswith(b"\n"):
                        raise DataError("the line has no line break: the run was killed, or is still writing it")
                    yield Trajectory.from_json(line)
                except DataError as error:
                    self.bad_lines.append(BadLine(number, str(error)))
