"""What the page of a pretrained model says of each run, kept beside it: the page outlives the runs' own folders."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from ..envs.trajectory import Trajectory
from ..errors import OptionError
from ..evaluation.multi_seed import QuestionFigures, question_figures
from ..evaluation.recorded_run import RecordedRun
from ..evaluation.run import RunDirectory
from ..evaluation.summary import score_of
from ..training.metrics import read_metrics
from ..training.report.comparison import most_changed
from .llm_starts import told_of
from .page import UNKNOWN

METRICS = ("score", "baseline", "searches", "structure", "evidence", "compliance", "interventions")
Played = Mapping[str, QuestionFigures]  # by question
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Record:
    """Figures alone, but for questions of the world: other data are not this package's."""

    settings: str  # a digest of the run's settings
    made: str  # the day
    played: Mapping[str, Mapping[str, Played]]  # by test set and contender
    curve: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # validation figures by step
    rollouts: Mapping[str, Sequence[float | None]] = field(default_factory=dict)  # of each training step
    habits: Mapping[str, Sequence[str]] = field(default_factory=dict)  # how a contender searches
    changed: Sequence[Sequence[str]] = ()  # questions before and after training


class Records:
    """A file for each run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def start(self, label: str) -> Path:
        """The file of a warm start."""
        return self._folder / f"{label}.safetensors"

    def episodes(self, label: str) -> Path:
        """The archive of a run's test episodes."""
        return self._folder / f"{label}.tar.gz"

    def find(self, label: str, settings: str) -> Record | None:
        """None if there is none; one of other settings is an error."""
        found: dict[str, Any]
        if (path := self.start(label)).exists():
            found = {**told_of(path), "played": {}}
        elif (path := self._folder / f"{label}.json").exists():
            found = json.loads(path.read_text("utf-8"))
        else:
            return None
        if found["settings"] != settings:
            raise OptionError(
                f"{path} is of a run of other settings: delete it, name another folder with --records, or ask for its "
                "settings"
            )
        played = {
            test: {who: {name: _figures(*line) for name, line in lines.items()} for who, lines in by_who.items()}
            for test, by_who in found["played"].items()
        }
        return Record(**{**found, "played": played})

    def keep(self, label: str, record: Record) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        played = {
            test: {who: {name: _line(one) for name, one in lines.items()} for who, lines in by_who.items()}
            for test, by_who in record.played.items()
        }
        content = {**asdict(record), "played": played}
        (self._folder / f"{label}.json").write_text(_text(content) + "\n", "utf-8")


def played_in(folder: Path) -> Played:
    return question_figures(RecordedRun(RunDirectory(folder)))


def curve_of(evaluations: Path) -> dict[str, dict[str, float]]:
    """The means of each evaluation while the run learned."""
    folders = {int(path.name.removeprefix("step-")): path for path in evaluations.glob("step-*")}
    found = {step: json.loads((folders[step] / "summary.json").read_text("utf-8")) for step in sorted(folders)}
    return {
        str(step): {name: round(summary[name]["mean"], _DIGITS) for name in METRICS if _is_known(summary, name)}
        for step, summary in found.items()
    }


def rollouts_of(metrics: Path) -> dict[str, list[float | None]]:
    """What the rollouts of each training step found; None where a figure is not known."""
    steps = [step for step in read_metrics(metrics) if "searches" in step]
    return {name: [_rounded(step.get(name)) for step in steps] for name in ("score", "baseline", "searches")}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)


def _is_known(summary: Mapping[str, Any], name: str) -> bool:
    return name in summary and summary[name]["mean"] is not None


def habits_of(folder: Path) -> list[str]:
    """How a policy searches: whether it has learned more than to repeat the question."""
    run = RecordedRun(RunDirectory(folder))
    episodes = [one for one in run.trajectories() if one.kind == "personalised"]
    calls = [(run.find(one.question_id).text, search) for one in episodes for search in one.searches]
    searches = [(text, call) for text, call in calls if call.tool == "search_profile"]
    return [
        *(str(len(episodes)), str(len(calls))),
        _share([call.query.strip() == text for text, call in searches]),
        _share([bool((call.arguments or {}).get("speaker")) for _, call in searches]),
        _share([call.tool == "read_around" for _, call in calls]),
    ]


def changed_in(before: Path, after: Path, most: int) -> list[list[str]]:
    """Questions whose score changed most, with what was searched for before training and after it."""
    sides = []
    for folder in (before, after):
        run = RecordedRun(RunDirectory(folder))
        played = (one for one in run.trajectories() if one.kind == "personalised" and score_of(one) is not None)
        sides.append({one.question_id: one for one in played})
    changed = {
        (name, "0"): (score_of(sides[1][name]) or 0.0) - (score_of(one) or 0.0)
        for name, one in sides[0].items()
        if name in sides[1]
    }
    return [
        [run.find(name).text, when, "; ".join(search.query for search in one.searches), *_ended(one)]
        for name, _ in most_changed(changed)[:most]
        for when, one in (("before", sides[0][name]), ("after", sides[1][name]))
    ]


def _ended(one: Trajectory) -> tuple[str, str]:
    return one.answer or "", f"{score_of(one) or 0.0:.2f}"


def _share(found: Sequence[bool]) -> str:
    return f"{fmean(found):.2f}" if found else UNKNOWN


def _line(one: QuestionFigures) -> list[Any]:
    values = [_rounded(one.values.get(name)) for name in METRICS]
    return [one.user, one.hops, one.category, *values]


def _figures(user: str, hops: int | None, category: str | None, *values: float | None) -> QuestionFigures:
    """A line may be older than the last metrics."""
    known = {name: value for name, value in zip(METRICS, values, strict=False) if value is not None}
    return QuestionFigures(user, hops, known, category)


def _text(content: Any, depth: int = 1) -> str:
    """JSON with each key on a line of its own."""
    if not isinstance(content, Mapping) or not content:
        return json.dumps(content, ensure_ascii=False)
    lines = (f"{' ' * depth}{json.dumps(key)}: {_text(value, depth + 1)}" for key, value in content.items())
    return "{\n" + ",\n".join(lines) + "\n" + " " * (depth - 1) + "}"
