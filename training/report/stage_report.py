"""`summary.json` and `report.html` of a recipe of stages."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...evaluation.intervals import BRACKETS, Interval, spread
from ...evaluation.page import Child, details, page, pairs, section, table, tag
from ...evaluation.run import RunDirectory
from ..reward_models.train import REPORT, RewardModelRecipe
from ..settings import flat
from ..stages import Stage, StagedRecipe
from .comparison import TRAINED, UNTRAINED

_FIGURES = {"score": "score", "gain": "gain over no profile", "structure": "structure", "compliance": "keeps its form"}


def write_stage_report(staged: StagedRecipe, stages: Sequence[Stage], out: Path) -> None:
    """Write both from the folders of the stages."""
    found = {stage.name: _figures(stage) for stage in stages}
    run = RunDirectory(out)
    run.write_json("summary.json", {"settings": {"recipe": staged.about, "model": staged.model}, "stages": found})
    run.write_text("report.html", page(staged.about, *_body(staged, stages, found)))


def _figures(stage: Stage) -> dict[str, Any]:
    """The test summaries of a policy, or the report of a reward model."""
    if isinstance(stage.recipe, RewardModelRecipe):
        return dict(json.loads((stage.folder / REPORT).read_text("utf-8")))
    return {"tests": json.loads((stage.folder / "summary.json").read_text("utf-8"))["tests"]}


def _body(staged: StagedRecipe, stages: Sequence[Stage], found: Mapping[str, Mapping[str, Any]]) -> Iterator[Child]:
    yield tag("h1", staged.about)
    tests = dict.fromkeys(test for figures in found.values() for test in figures.get("tests", ()))
    for test in tests:
        rows = list(_rows(test, found))
        note = f"{BRACKETS} Each stage's own report says beside whom, and how it went."
        yield section(f"Policies on {test}", table(["after", *_FIGURES.values(), "n"], rows), note=note)
    models = [[name, *_accuracy(figures)] for name, figures in found.items() if "accuracy" in figures]
    if models:
        heads = ["reward model", "pairs learned from", "pairs held out", "of people", "right"]
        yield section("Reward models", table(heads, models))
    for stage in stages:
        settings = {name: json.dumps(value) for name, value in flat(stage.recipe.model_dump())}
        yield details(f"{stage.name}: {stage.recipe.method}, in {stage.folder.name}/", pairs(settings))


def _rows(test: str, found: Mapping[str, Mapping[str, Any]]) -> Iterator[list[Child]]:
    """The starting policy, then the policy of each stage."""
    before = next((f["tests"][test].get(UNTRAINED) for f in found.values() if test in f.get("tests", ())), None)
    if before is not None:
        yield _row("nothing", before)
    for name, figures in found.items():
        if test in figures.get("tests", ()):
            yield _row(name, figures["tests"][test][TRAINED])


def _row(name: str, summary: Mapping[str, Any]) -> list[Child]:
    count = summary.get("score", {}).get("n", 0)
    return [name, *(_spread(summary.get(figure)) for figure in _FIGURES), f"{count:,}"]


def _accuracy(report: Mapping[str, Any]) -> list[Child]:
    counts = (report["pairs"], report["held_out_pairs"], report["held_out_people"])
    return [*(f"{count:,}" for count in counts), _spread(report["accuracy"]["all"])]


def _spread(figure: Mapping[str, Any] | None) -> str:
    return spread(Interval(**figure) if figure else None)
