"""The trained policy beside its controls on every test set: who plays, their runs, and the differences in words."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...envs.question import Question
from ...envs.trajectory import Trajectory
from ...evaluation.compare import Comparison, Row, compare
from ...evaluation.evaluate import Settings, default_reward
from ...evaluation.intervals import Interval, reach
from ...evaluation.recorded_run import RecordedRun
from ...evaluation.run import RunDirectory
from ...evaluation.summary import Place, place_of, score_of
from ..grpo.resuming import EVALUATIONS
from ..policy import trained_spec
from ..recipe import PolicyRecipe

TRAINED, UNTRAINED, STARTING, ORACLE = "trained", "untrained", "none", "oracle"
_CHANGED, _FELL = 10, 3  # episodes shown before and after training; at most so many of them whose score fell


@dataclass(frozen=True, slots=True)
class Contender:
    """A name in the report's tables, and how it plays a test set."""

    name: str
    settings: Settings


def contenders(recipe: PolicyRecipe, data: str, out: Path) -> Iterator[Contender]:
    """The trained policy, the controls with the starting weights, and the oracle."""
    start = recipe.playing(data, recipe.conclusion.questions, seeds=recipe.conclusion.seeds)
    if recipe.conclusion.temperature is not None:
        start = replace(start, temperature=recipe.conclusion.temperature)
    yield Contender(TRAINED, replace(start, model=trained_spec(recipe.model, out)))
    for agent in recipe.conclusion.controls:
        yield Contender(UNTRAINED if agent == recipe.agent else agent, replace(start, agent=agent))
    if recipe.conclusion.oracle is not None:
        yield Contender(ORACLE, replace(start, model=recipe.conclusion.oracle))


@dataclass(frozen=True, slots=True)
class BeforeAfter:
    """One attempt at a question by the starting policy and by the trained one."""

    question: Question
    before: Trajectory
    after: Trajectory
    change: float


@dataclass(frozen=True, slots=True)
class Changes:
    """How many attempts score more, the same and less after training, and those that changed most."""

    rose: int
    same: int
    fell: int
    pairs: tuple[BeforeAfter, ...]


class TestSet:
    """The runs of all contenders on one test set."""

    __test__ = False  # not a test class of pytest's

    def __init__(self, name: str, folder: Path, names: Sequence[str]) -> None:
        self.name = name
        self.runs = {who: RecordedRun(RunDirectory(folder / who)) for who in names}
        self.summaries: dict[str, Mapping[str, Any]] = {
            who: json.loads((folder / who / "summary.json").read_text("utf-8")) for who in names
        }

    @property
    def data(self) -> str:
        return str(self.runs[TRAINED].settings["data"])

    @property
    def judge(self) -> str:
        asked = self.runs[TRAINED].settings["judge"]
        return ", ".join(self.summaries[TRAINED]["judge"]) or asked or default_reward(self.data)

    @property
    def hops(self) -> list[str]:
        return sorted(self.summaries[TRAINED]["by_hops"])

    def figure(self, who: str, metric: str, hops: str | None = None) -> Interval | None:
        """None if there is no such contender or figure."""
        summary = self.summaries.get(who, {})
        found = summary.get(metric) if hops is None else summary.get("by_hops", {}).get(hops, {}).get(metric)
        return Interval(**found) if found and found["mean"] is not None else None

    def compared(self) -> Comparison | None:
        """None if the trained policy played alone."""
        return compare({who: {0: run} for who, run in self.runs.items()}) if len(self.runs) > 1 else None

    def gains(self) -> list[float]:
        """The gains of the trained policy over its own baseline."""
        own, baselines = self._scores(TRAINED, "personalised"), self._scores(TRAINED, "baseline")
        return [score - baselines[place] for place, score in own.items() if place in baselines]

    def changes(self) -> Changes | None:
        """None if the starting policy did not play."""
        if UNTRAINED not in self.runs:
            return None
        before, after = (self._scores(who, "personalised") for who in (UNTRAINED, TRAINED))
        changed = {place: after[place] - before[place] for place in before if place in after}
        shown = most_changed(changed)
        played = [self._played(who, set(shown)) for who in (UNTRAINED, TRAINED)]
        find = self.runs[TRAINED].find
        return Changes(
            sum(change > 0 for change in changed.values()),
            sum(change == 0 for change in changed.values()),
            sum(change < 0 for change in changed.values()),
            tuple(BeforeAfter(find(place[0]), played[0][place], played[1][place], changed[place]) for place in shown),
        )

    def _scores(self, who: str, kind: str) -> dict[Place, float]:
        scored = ((place_of(t), score_of(t)) for t in self.runs[who].trajectories() if t.kind == kind)
        return {place: score for place, score in scored if score is not None}

    def _played(self, who: str, places: set[Place]) -> dict[Place, Trajectory]:
        played = (t for t in self.runs[who].trajectories() if t.kind == "personalised")
        return {place_of(t): t for t in played if place_of(t) in places}


def tests_of(recipe: PolicyRecipe, out: Path) -> list[TestSet]:
    return [
        TestSet(name, out / EVALUATIONS / name, [contender.name for contender in contenders(recipe, data, out)])
        for name, data in recipe.data.test.items()
    ]


def trained_less(row: Row) -> Interval | None:
    """The trained policy minus the row's control: a row's difference with its sign changed."""
    other = row.difference
    if other is None or other.mean is None:
        return None
    # Subtracted from 0.0, as -0.0 would print as -0.
    low, high = (None if end is None else 0.0 - end for end in (other.high, other.low))
    return Interval(0.0 - other.mean, low, high, other.n, other.people)


def sentence(steps: int, test: TestSet) -> str:
    """The result in one sentence."""
    score, before = test.figure(TRAINED, "score"), test.figure(UNTRAINED, "score")
    told = f"After {steps:,} steps the policy scores {_number(score, 2)}"
    told += f" instead of {_number(before, 2)}" if before else ""
    return f"{told} on {test.name}{_searches(test)}."


def differences(compared: Comparison) -> Iterator[str]:
    """The trained policy compared with the starting one, and with the best control."""
    rows = {row.run: row for row in compared.rows if row.metric == "score"}
    if UNTRAINED in rows:
        yield f"Beside what it was before training: {_verdict(trained_less(rows[UNTRAINED]))}."
    controls = {who: row.figure.mean or 0.0 for who, row in rows.items() if who not in (TRAINED, UNTRAINED, ORACLE)}
    if controls:
        best = max(controls, key=controls.__getitem__)
        verdict = _verdict(trained_less(rows[best]))
        yield f"Beside {best}, the best of the other controls with {controls[best]:.2f}: {verdict}."


def _verdict(less: Interval | None) -> str:
    if less is None:
        return "no question was scored in both"
    found = "better" if (less.low or 0) > 0 else "worse" if (less.high or 0) < 0 else "inconclusive"
    return f"{found}, {less.mean:+.2f} {reach(less, 2, sign='+')}"


def _searches(test: TestSet) -> str:
    if not test.hops:
        return f"; it searches {_number(test.figure(TRAINED, 'searches'), 1)} times a question"
    after, before = (
        _listed([_number(test.figure(who, "searches", hops), 1) for hops in test.hops]) for who in (TRAINED, UNTRAINED)
    )
    told = f"; it searches {after} times on questions of {_listed(test.hops)} hops"
    return f"{told}, and searched {before} times before" if UNTRAINED in test.runs else told


def most_changed(changed: Mapping[Place, float]) -> list[Place]:
    """At most one attempt a question; ties in the order played."""
    by_question: dict[str, Place] = {}
    for place in sorted(changed, key=lambda place: -abs(changed[place])):
        by_question.setdefault(place[0], place)
    places = list(by_question.values())
    fell = [place for place in places if changed[place] < 0][:_FELL]
    others = [place for place in places if changed[place] >= 0]
    return [*others[: _CHANGED - len(fell)], *fell]


def _number(figure: Interval | None, digits: int) -> str:
    return "–" if figure is None or figure.mean is None else f"{figure.mean:.{digits}f}"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
