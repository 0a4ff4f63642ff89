"""Checks that a run is deterministic: plays it twice in separate processes and compares the trajectories."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..errors import ProfileGymError
from .evaluate import Settings

_CONTEXT = 30  # characters shown before and after the first one that differs


class RunFailed(ProfileGymError):
    """One of the two runs failed, or an episode of it: that it fails twice shows nothing."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first field in which two records of an episode differ."""

    episode: str
    place: str
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class Repetition:
    """`ordered`: whether the episodes ended in the same order, which with an endpoint depends on timing."""

    episodes: int
    difference: Difference | None
    ordered: bool


def repeat(settings: Settings) -> Repetition:
    """Plays twice with different hash seeds, and compares everything but times."""
    with TemporaryDirectory() as folder:
        runs = [_play(settings, Path(folder) / str(seed), seed) for seed in (1, 2)]
        return compared(*runs)


def compared(first: Path, second: Path) -> Repetition:
    """Compares two files of trajectories, episode by episode and byte by byte."""
    one, other = _lines(first), _lines(second)
    for record in (*one.values(), *other.values()):
        if record.get("ended") == "error":
            raise RunFailed(f"{record['id']} was not played to its end: {record.get('error')}")
    differences = (_difference(episode, one.get(episode), other.get(episode)) for episode in {**one, **other})
    return Repetition(len(one), next(filter(None, differences), None), list(one) == list(other))


def _play(settings: Settings, out: Path, seed: int) -> Path:
    package = __name__.partition(".")[0]
    command = [sys.executable, "-m", package, "eval", *settings.arguments, "--out", str(out)]
    ended = subprocess.run(  # noqa: S603 (our own command)
        command, env={**os.environ, "PYTHONHASHSEED": str(seed)}, capture_output=True, text=True
    )
    if not (out / "summary.json").exists():
        told = ended.stderr.strip().splitlines() or ["no error output"]
        raise RunFailed(f"{package} {' '.join(command[3:])} exited with {ended.returncode}: {told[-1]}")
    return out / "trajectories.jsonl"


def _lines(path: Path) -> dict[str, dict[str, Any]]:
    """The records by id, without times."""
    with path.open("rb") as file:
        records = [json.loads(line) for line in file]
    for record in records:
        del record["timing"]
        for search in record["searches"]:
            del search["ms"]
    return {record["id"]: record for record in records}


def _difference(episode: str, first: Any, second: Any) -> Difference | None:
    if _bytes(first) == _bytes(second):
        return None
    place, one, other = next(_differences(first, second, ""))
    return Difference(episode, place or "the record", *_around(_shown(one), _shown(other)))


def _bytes(record: Any) -> str:
    return json.dumps(record)  # keys in order, numbers to the last digit


def _differences(first: Any, second: Any, place: str) -> Iterator[tuple[str, Any, Any]]:
    """The places where two JSON values differ, in order."""
    if isinstance(first, dict) and isinstance(second, dict) and list(first) == list(second):
        for key in first:
            yield from _differences(first[key], second[key], f"{place}.{key}".lstrip("."))
    elif isinstance(first, list) and isinstance(second, list):
        for number, (one, other) in enumerate(zip_longest(first, second)):
            yield from _differences(one, other, f"{place}[{number}]")
    elif _bytes(first) != _bytes(second):
        yield place, first, second


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _around(first: str, second: str) -> tuple[str, str]:
    """Excerpts of two texts around the first character that differs."""
    pairs = zip_longest(first, second)
    at = next((number for number, (one, other) in enumerate(pairs) if one != other), 0)
    return _cut(first, at), _cut(second, at)


def _cut(text: str, at: int) -> str:
    start, end = max(0, at - _CONTEXT), at + _CONTEXT
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"
