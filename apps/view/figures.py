"""Figures of a run: from its summary if it is finished, else from its index."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from time import time
from typing import Any

import numpy as np

from ..._util.counted import counted
from ...errors import ProfileGymError
from ...evaluation.intervals import Interval, Kind, bootstrap, ratio
from ...evaluation.summary import FRACTIONS
from ...training.metrics import read_metrics
from .filters import moment
from .index import Index, Progress
from .library import TRAJECTORIES, Library, Refused, Run, inside

_POINTS = 200  # to a curve
_FIRST = (
    *("score", "baseline", "gain", "validation_score", "validation_baseline", "validation_gain", "reward", "searches"),
    *("structure", "malformed", "truncated", "unscored", "zero_variance", "policy_tokens", "entropy", "loss"),
)
_JUST_NOW = 15  # seconds since something was written
WIDTH, HEIGHT = 320, 90


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric over the steps of a run, as SVG points in `WIDTH` by `HEIGHT`."""

    name: str
    points: str
    first: float
    last: float
    low: float
    high: float
    steps: tuple[float, float]


def means(run: Run, index: Index) -> dict[str, Interval]:
    """Score and gain: of personalised episodes, else of baselines; of a training run, on its test sets."""
    if run.is_summed_up:
        summary = run.summary or {}
        return {name: Interval(**summary[name]) for name in ("score", "gain") if name in summary}
    return _means(index, f"{run.stamp} {index.progress.bytes}")


@lru_cache(maxsize=64)
def _means(index: Index, stamp: str) -> dict[str, Interval]:
    """Cached until something new is written."""
    kinds = [row["kind"] for row in index.ask("SELECT DISTINCT kind FROM lines")]
    kind = "personalised" if "personalised" in kinds else "baseline"
    return {name: found for name in ("score", "gain") if (found := _mean(index, name, kind)).n}


def _mean(index: Index, column: str, kind: str) -> Interval:
    rows = index.ask(
        f"SELECT sum({column}) AS total, count({column}) AS n, {outside(column)} FROM lines "  # noqa: S608 (no outside text)
        f"WHERE kind = ? AND {column} IS NOT NULL GROUP BY user_id ORDER BY user_id",
        (kind,),
    )
    sums = [(row["total"], row["n"]) for row in rows]
    return interval(sums, kind_by(rows, column) if column in FRACTIONS else "any")


def outside(column: str) -> str:
    """SQL for how many of a column's values are not from 0 to 1, and how many of them are neither 0 nor 1."""
    return f"sum({column} NOT BETWEEN 0 AND 1) AS {column}_beyond, sum({column} NOT IN (0, 1)) AS {column}_between"


def kind_by(rows: Sequence[Any], column: str) -> Kind:
    """From the columns of `outside`."""
    if any(row[f"{column}_beyond"] for row in rows):
        return "any"
    return "fraction" if any(row[f"{column}_between"] for row in rows) else "share"


def interval(sums: Sequence[tuple[float, int]], kind: Kind = "any") -> Interval:
    """From sum and number of each user's values."""
    rows = np.array(sums, float).reshape(-1, 2)
    return bootstrap(rows, ratio, int(rows[:, 1].sum()), kind)


@dataclass(frozen=True, slots=True)
class Metrics:
    """From `metrics.jsonl`: the main curves, the other curves, and the alarms of the last step."""

    first: Sequence[Curve]
    more: Sequence[Curve]
    signs: Sequence[str]
    step: Any


def metrics_of(run: Run) -> Metrics:
    records = read_metrics(inside(run.path, "metrics.jsonl"))
    drawn = {name: _curve(name, points) for name, points in _series(records).items()}
    first = [drawn.pop(name) for name in _FIRST if name in drawn]
    last: Mapping[str, Any] = next(
        (record for record in reversed(records) if "loss" in record), {}
    )  # not an evaluation
    signs = last.get("alarms")
    named = [str(name) for name in signs] if isinstance(signs, list) else []
    return Metrics(first or list(drawn.values()), list(drawn.values()) if first else [], named, last.get("step"))


def _series(records: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """By metric: its value at each step."""
    series: dict[str, list[tuple[float, float]]] = {}
    for record in records:
        for name, value in record.items():
            if name != "step" and _is_number(value) and _is_number(record["step"]):
                series.setdefault(name, []).append((float(record["step"]), float(value)))
    return series


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value and abs(value) < 1e300


def _curve(name: str, points: Sequence[tuple[float, float]]) -> Curve:
    steps, values = [step for step, _ in points], [value for _, value in points]
    low, high = min(values), max(values)
    wide, tall = (max(steps) - min(steps)) or 1, (high - low) or 1
    every = max(1, len(points) // _POINTS)
    drawn = [*points[::every], points[-1]]
    placed = " ".join(
        f"{4 + (WIDTH - 8) * (step - min(steps)) / wide:.1f},{HEIGHT - 4 - (HEIGHT - 8) * (value - low) / tall:.1f}"
        for step, value in drawn
    )
    return Curve(name, placed, values[0], values[-1], low, high, (min(steps), max(steps)))


@dataclass(frozen=True, slots=True)
class Card:
    """A run in the list. What it tells is of `shown`: of a run in stages that is the last one."""

    run: Run
    shown: Run
    description: str
    judge: str
    score: Interval | None
    gain: Interval | None
    scored: str  # what score and gain are measured on, in a training run
    episodes: int
    note: str
    date: str
    time: str
    growing: bool


def card_of(library: Library, whole: Run, seconds: float = 0.1) -> Card:
    """Indexes new trajectories for about so many seconds."""
    run = library.last_stage(whole) or whole
    index = run.index(seconds=seconds) if run.has(TRAJECTORIES) else None
    found = means(run, index) if index else {}
    judges = (
        [row["judge"] for row in index.ask("SELECT DISTINCT judge FROM lines WHERE judge IS NOT NULL")] if index else []
    )
    counted = (
        index.ask("SELECT count(*) AS n, count(DISTINCT question_id) AS q FROM lines")[0] if index else {"n": 0, "q": 0}
    )
    note = _note(index.progress if index else Progress(), counted["q"])
    growing = time() - run.changed < _JUST_NOW and run.summary is None
    judge = ", ".join(judges) or "no judge yet"
    scored = _scored(run, index is not None) + ("" if run is whole else f", stage {run.path.name}")
    return Card(
        whole, run, describe_run(run), judge, found.get("score"), found.get("gain"), scored, counted["n"], note,
        *moment(run.changed), growing,
    )  # fmt: skip


def cards_of(library: Library, runs: Iterable[Run]) -> tuple[list[Card], list[Refused]]:
    """A run that cannot be read does not hide the others."""
    cards, broken = list[Card](), list[Refused]()
    for run in runs:
        try:
            cards.append(card_of(library, run))
        except (ProfileGymError, OSError, TypeError, ValueError, LookupError, AttributeError) as error:
            broken.append(Refused(run.path, f"{run.path} cannot be shown: {error}"))
    return cards, broken


def _scored(run: Run, has_rollouts: bool) -> str:
    """What the score of a training run is of; one that learns from lessons plays nothing while it learns."""
    if not run.learns:
        return ""
    if run.is_summed_up:
        return ", on the test questions"
    return ", of its rollouts" if has_rollouts else ""


def _note(progress: Progress, questions: int) -> str:
    if progress.share < 1:
        return f"{progress.share:.0%} indexed"
    return counted(questions, "question")


def describe_run(run: Run) -> str:
    """Agent, model, data and retriever, in one line."""
    asked = run.settings
    data = asked["data"].get("train") if isinstance(asked.get("data"), dict) else asked.get("data")
    players = " with ".join(str(asked[name]) for name in ("agent", "model") if asked.get(name))
    told = [players, f"data {data}" if data else "", f"retriever {asked['retriever']}" if "retriever" in asked else ""]
    return ", ".join(filter(None, told)) or "no settings are recorded"
