"""Runs beside each other."""

import asyncio
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from math import sqrt
from pathlib import Path
from random import Random
from statistics import fmean, stdev
from typing import Any

import pytest
import yaml
from matching import naming
from typer.testing import CliRunner

from profilegym import Question
from profilegym.agents.models.model import register_model
from profilegym.agents.models.scripted import ScriptedModel
from profilegym.agents.turn_format import answer_with
from profilegym.apps.cli import app
from profilegym.apps.compare import latex, markdown, plot, run_compare
from profilegym.envs.trajectory import Segment, verdict_record
from profilegym.errors import DataError, OptionError
from profilegym.evaluation.compare import Comparison, Row, compare
from profilegym.evaluation.evaluate import Settings, evaluate
from profilegym.evaluation.intervals import Interval
from profilegym.evaluation.recorded_run import RecordedRun
from profilegym.evaluation.rejudge import rejudge
from profilegym.evaluation.run import RunDirectory
from profilegym.world.players.oracle import play

ORACLE = Settings(model="scripted:oracle", data="world:seed=7,users=40/test", limit=36)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("runs")
    asked = {
        "pr2": ORACLE,
        "rag": replace(ORACLE, agent="rag", limit=30),
        "none": replace(ORACLE, agent="none", seeds=2),
        "elsewhere": replace(ORACLE, data="world:seed=8,users=40/test"),
    }
    for name, settings in asked.items():
        asyncio.run(evaluate(settings, RunDirectory(out / name)))
    return {name: out / name for name in asked}


def beside(runs: dict[str, Path], *names: str, judge: str | None = None) -> Comparison:
    return compare({name: {0: RecordedRun(RunDirectory(runs[name]))} for name in names}, judge)


def row(found: Comparison, metric: str, run: str) -> Row:
    return next(row for row in found.rows if (row.metric, row.run) == (metric, run))


def another_judge(source: Path, out: Path, name: str) -> Path:
    """The same run, judged by one of another name."""
    out.mkdir()
    (out / "recipe.yaml").write_text((source / "recipe.yaml").read_text())
    lines = [json.loads(line) for line in (source / "trajectories.jsonl").read_text().splitlines()]
    for line in lines:
        line["verdict"]["judge"] = name
    (out / "trajectories.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return out


def test_a_run_differs_from_itself_by_nothing(runs: dict[str, Path]) -> None:
    run = RecordedRun(RunDirectory(runs["pr2"]))

    found = compare({"one": {0: run}, "other": {0: run}})

    for metric in ("score", "gain", "searches", "evidence", "structure"):
        difference = row(found, metric, "other").difference
        assert difference is not None
        assert (difference.mean, difference.low, difference.high) == (0, 0, 0)


def test_a_difference_is_that_of_the_means_on_the_same_questions(runs: dict[str, Path]) -> None:
    found = beside(runs, "pr2", "rag")

    pr2, rag = row(found, "score", "pr2"), row(found, "score", "rag")
    assert pr2.figure.n == rag.figure.n == found.common == 30
    assert rag.difference is not None
    assert rag.difference.mean == pytest.approx((rag.figure.mean or 0) - (pr2.figure.mean or 0))
    assert (rag.difference.high or 0) < 0


def test_questions_that_are_not_common_are_told(runs: dict[str, Path]) -> None:
    found = beside(runs, "pr2", "rag")

    assert found.not_common == {"pr2": 6, "rag": 0}
    assert "pr2: 6 questions not common to all, left out" in markdown(found)


def test_the_baselines_of_an_interrupted_run_are_not_taken_for_its_agent(runs: dict[str, Path], tmp_path: Path) -> None:
    interrupted = Path(shutil.copytree(runs["pr2"], tmp_path / "interrupted"))
    file = interrupted / "trajectories.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("".join(f"{line}\n" for line in lines if json.loads(line)["kind"] == "baseline"))

    with pytest.raises(DataError, match=naming(interrupted)):
        beside(runs | {"interrupted": interrupted}, "pr2", "interrupted")

    recipe = interrupted / "recipe.yaml"  # what a server records may be nothing else
    recipe.write_text(recipe.read_text().replace("settings:", "settings:\n  served: true", 1))
    beside(runs | {"interrupted": interrupted}, "pr2", "interrupted")


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("settings: {model: pilot}")

    with pytest.raises(DataError, match=naming("agent", "data")):
        RecordedRun(RunDirectory(tmp_path))


def test_attempts_at_a_question_count_as_one(runs: dict[str, Path]) -> None:
    found = beside(runs, "none", "pr2")

    assert row(found, "score", "none").figure.n == 36
    assert found.settings["seeds"] == (2, 1)


def test_a_run_without_a_figure_takes_no_question_from_the_others(runs: dict[str, Path]) -> None:
    found = beside(runs, "none", "pr2", "rag")

    gains = [row for row in found.rows if row.metric == "gain"]
    assert [(row.run, row.difference) for row in gains] == [("pr2", None), ("rag", None)]
    assert {row.figure.n for row in gains} == {30}


def test_other_data_is_refused(runs: dict[str, Path]) -> None:
    with pytest.raises(OptionError, match=naming("data")):
        beside(runs, "pr2", "elsewhere")


def test_other_judges_are_refused_unless_that_is_wanted(runs: dict[str, Path], tmp_path: Path) -> None:
    lenient = another_judge(runs["rag"], tmp_path / "lenient", "lenient")
    both = {**runs, "lenient": lenient}

    with pytest.raises(OptionError, match=naming("profilegym rejudge lenient --judge rubric")):
        beside(both, "pr2", "lenient")
    assert beside(both, "pr2", "lenient", judge="any").judge == "rubric, lenient"


def test_runs_that_were_rejudged_are_compared_by_that_judge(runs: dict[str, Path], tmp_path: Path) -> None:
    both = {**runs, "lenient": another_judge(runs["rag"], tmp_path / "lenient", "lenient")}
    with pytest.raises(DataError, match=naming("rubric")):
        beside(both, "pr2", "lenient", judge="rubric")

    asyncio.run(rejudge(RunDirectory(both["lenient"]), "rubric"))

    assert row(beside(both, "pr2", "lenient", judge="rubric"), "score", "lenient").figure == (
        row(beside(runs, "pr2", "rag"), "score", "rag").figure
    )


def test_what_has_no_score_in_some_run_is_left_out_of_the_scores_and_told(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    holed = another_judge(runs["pr2"], tmp_path / "holed", "rubric")
    lines = [json.loads(line) for line in (holed / "trajectories.jsonl").read_text().splitlines()]
    lines[-1] |= {"verdict": verdict_record(None), "reward": {"total": None, "parts": {}, "unscored": "no reply"}}
    (holed / "trajectories.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    found = beside({**runs, "holed": holed}, "pr2", "holed")

    assert row(found, "score", "pr2").figure.n == 35
    assert row(found, "searches", "pr2").figure.n == 36
    assert "holed: 1 common question without a score" in markdown(found)


def test_the_table_is_markdown_and_latex(runs: dict[str, Path]) -> None:
    found = replace(beside(runs, "pr2", "rag"), judge="my_judge|50%")

    rows = [line for line in markdown(found).splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {6}
    text = latex(found)
    assert r"score, my\_judge|50\% & pr2 &" in text
    assert text.count(r"\\") == len(found.rows) + 1


def test_the_plot_has_a_line_for_each_difference(runs: dict[str, Path]) -> None:
    found = beside(runs, "pr2", "rag")

    lines = list(plot(found))

    assert len(lines) == 1 + sum(row.metric != "searches" and row.difference is not None for row in found.rows)
    assert all("●" in line for line in lines[:-1])
    assert len({len(line) for line in lines}) == 1


def test_the_plot_reaches_to_means_without_an_interval_and_leaves_out_what_is_not_known(runs: dict[str, Path]) -> None:
    found = beside(runs, "pr2", "rag")
    figure = found.rows[0].figure
    differences = {
        "score": Interval(0.1, 0.05, 0.2, 30, 10),
        "harm": Interval(0.9, None, None, 2, 2),  # fewer people than an interval needs
        "needless": Interval(-0.5, None, None, 2, 2),
        "evidence": Interval(None, None, None, 0, 0),
    }

    shown = list(plot(replace(found, rows=tuple(Row(name, "rag", figure, of) for name, of in differences.items()))))

    assert [line.partition(":")[0] for line in shown[:-1]] == ["score", "harm", "needless search"]
    assert shown[1].endswith("●")
    assert shown[2].partition("rag")[2].strip().startswith("●")
    assert shown[-1].split() == ["-0.500", "+0.900"]


def test_the_command_prints_a_table_and_writes_a_page(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_compare([str(runs["pr2"]), str(runs["rag"])], None, "terminal", tmp_path / "c.html", as_json=False)
    shown = capsys.readouterr().out
    run_compare([str(runs["pr2"]), str(runs["rag"])], None, "terminal", None, as_json=True)
    as_json: Any = json.loads(capsys.readouterr().out)

    assert "score, rubric" in shown
    assert as_json["common"] == 30
    assert "<svg" in (tmp_path / "c.html").read_text("utf-8")
    with pytest.raises(OptionError, match=naming("two")):
        run_compare([str(runs["pr2"])], None, "terminal", None, as_json=False)


def test_the_table_fits_a_narrow_terminal_and_names_figures_as_eval_does(runs: dict[str, Path]) -> None:
    result = CliRunner().invoke(app, ["compare", str(runs["pr2"]), str(runs["rag"])], env={"COLUMNS": "80"})

    table = result.output.partition("questions of")[0].splitlines()
    names = [line[:17].strip() for line in table if line.strip()]
    assert "precision" in names
    assert "evidence_precision" not in names
    row = next(line for line in table if line.startswith("  evidence"))
    below = table[table.index(row) + 1]
    assert row.split()[1] == runs["pr2"].name
    assert below.split()[0] == runs["rag"].name  # the figure is not named again
    assert re.search(r"[-+]\d\.\d{3} \[[-+]\d\.\d{3}, [-+]\d\.\d{3}\]", below)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two kinds of runs of three seeds each: `clumsy-0` … and `rag-0` …, which has one more."""
    out = tmp_path_factory.mktemp("seeds")
    for seed in range(4):
        for name, settings in (("clumsy", replace(ORACLE, model="by-luck")), ("rag", replace(ORACLE, agent="rag"))):
            if seed < 3 or name == "rag":
                asyncio.run(evaluate(replace(settings, first_seed=seed), RunDirectory(out / f"{name}-{seed}")))
    return out


LUCK = Random(1)


def by_luck(question: Question, said: Sequence[Segment]) -> str:
    """Answers as the oracle does, or not at all, as chance has it: other seeds, other figures."""
    return play(question, said) if LUCK.random() < 0.7 else answer_with("I give up.", "")


register_model("by-luck", lambda: ScriptedModel("by-luck", by_luck))


def shown(*sides: str, capsys: pytest.CaptureFixture[str]) -> Any:
    run_compare(sides, None, "terminal", None, as_json=True)
    return json.loads(capsys.readouterr().out)


def test_several_seeds_of_each_side_are_compared_over_people_and_seeds(
    seeds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clumsy, rag = f"{seeds}/clumsy-*", f"{seeds}/rag-[0-2]"

    found = shown(clumsy, rag, capsys=capsys)

    assert found["seeds"] == {clumsy: [0, 1, 2], rag: [0, 1, 2]}
    scores = {row["run"]: row for row in found["rows"] if row["metric"] == "score"}
    alone = [
        {row["run"]: row["figure"]["mean"] for row in one["rows"] if row["metric"] == "score"}
        for one in (shown(f"{seeds}/clumsy-{seed}", f"{seeds}/rag-{seed}", capsys=capsys) for seed in range(3))
    ]
    means = [list(one.values()) for one in alone]
    assert scores[clumsy]["figure"]["mean"] == pytest.approx(fmean(mean[0] for mean in means))
    assert scores[rag]["difference"]["mean"] == pytest.approx(fmean(mean[1] - mean[0] for mean in means))
    assert (scores[rag]["difference"]["people"], scores[rag]["figure"]["n"]) == (6, 3 * 36)
    spread = stdev(mean[1] - mean[0] for mean in means)
    wide = scores[rag]["difference"]["high"] - scores[rag]["difference"]["low"]
    assert wide > 2 * 4.303 * spread / sqrt(3) > 0  # of the seeds alone, by Student's t


def test_a_pattern_is_the_same_by_the_command_line(seeds: Path) -> None:
    result = CliRunner().invoke(app, ["compare", f"{seeds}/clumsy-*", f"{seeds}/rag-*"], env={"COLUMNS": "300"})

    assert result.exit_code == 0, result.output
    assert "clumsy-*: seeds 0, 1, 2" in result.output
    assert "rag-*: seeds 0, 1, 2\n" in result.output.replace(" \n", "\n")  # the fourth has no other beside it


def test_one_run_stands_beside_every_seed_of_the_other_side(seeds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, several = f"{seeds}/rag-3", f"{seeds}/clumsy-*"

    found = shown(one, several, capsys=capsys)

    assert found["seeds"] == {one: [3], several: [0, 1, 2]}
    first, second = (row for row in found["rows"] if row["metric"] == "searches")
    assert first["figure"]["n"] == 36
    assert second["difference"]["mean"] == pytest.approx(second["figure"]["mean"] - first["figure"]["mean"])


def test_sides_without_a_seed_in_common_are_refused(seeds: Path) -> None:
    with pytest.raises(OptionError, match=naming("clumsy-[01]", "0, 1", "rag-[23]", "2, 3")):
        run_compare([f"{seeds}/clumsy-[01]", f"{seeds}/rag-[23]"], None, "terminal", None, as_json=True)


def test_a_pattern_that_matches_nothing_is_an_error(seeds: Path) -> None:
    with pytest.raises(DataError, match=naming("nothing-*")):
        run_compare([f"{seeds}/rag-*", f"{seeds}/nothing-*"], None, "terminal", None, as_json=True)


def test_a_pattern_that_mixes_kinds_of_runs_is_refused_by_what_differs(seeds: Path) -> None:
    with pytest.raises(OptionError, match=naming("clumsy-0", "rag-0", "agent, model")):
        run_compare([f"{seeds}/*", f"{seeds}/rag-0"], None, "terminal", None, as_json=True)


def test_two_runs_of_one_seed_are_refused(seeds: Path, tmp_path: Path) -> None:
    for name in ("a-0", "a-1"):
        shutil.copytree(seeds / "rag-0", tmp_path / name)

    with pytest.raises(OptionError, match=naming("seed 0", "a-0", "a-1")):
        run_compare([f"{tmp_path}/a-*", f"{seeds}/rag-0"], None, "terminal", None, as_json=True)


def trained(folder: Path, source: Path, seed: int, **settings: Any) -> None:
    """A training run as it lies there, whose policy played what the source holds."""
    played = folder / "evaluations" / "test" / "trained"
    shutil.copytree(source, played)
    recipe = yaml.safe_load((played / "recipe.yaml").read_text())
    recipe["settings"] |= {"model": f"hf:elsewhere/{folder.name}/final,system=a/b", "first_seed": seed}
    (played / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    training = {"agent": "pr2", "data": {"train": "world/train", "test": {"test": "world/test"}}, "seed": seed}
    (folder / "recipe.yaml").write_text(yaml.safe_dump({"settings": training | settings}))


def test_trained_policies_are_one_side_though_each_has_a_path_of_its_own(
    seeds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (0, 1):
        trained(tmp_path / f"a-{seed}", seeds / "clumsy-0", seed, steps=7)
        trained(tmp_path / f"b-{seed}", seeds / f"rag-{seed}", seed, steps=7 + seed)
    side = f"{tmp_path}/a-*/evaluations/test/trained"

    assert shown(side, str(seeds / "rag-0"), capsys=capsys)["seeds"][side] == [0, 1]
    with pytest.raises(OptionError, match=naming("training steps")):
        shown(f"{tmp_path}/b-*/evaluations/test/trained", side, capsys=capsys)


def test_a_training_run_is_refused_with_the_path_of_what_its_policy_played(seeds: Path, tmp_path: Path) -> None:
    trained(tmp_path / "a-0", seeds / "rag-0", 0)

    with pytest.raises(OptionError, match=naming("a-0/evaluations/test/trained")):
        run_compare([f"{tmp_path}/a-*", f"{seeds}/rag-0"], None, "terminal", None, as_json=True)


def test_bounds_are_what_the_unscored_could_make_of_a_difference(runs: dict[str, Path], tmp_path: Path) -> None:
    """Of 36 questions one has no score in the other run, where all others have the same in both: between 1 and 0."""
    holed = another_judge(runs["pr2"], tmp_path / "holed", "rubric")
    lines = [json.loads(line) for line in (holed / "trajectories.jsonl").read_text().splitlines()]
    lines[-1] |= {"verdict": verdict_record(None), "reward": {"total": None, "parts": {}, "unscored": "no reply"}}
    (holed / "trajectories.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    found = beside({**runs, "holed": holed}, "pr2", "holed")

    assert found.unscored == {"pr2": 0, "holed": 1}
    assert row(found, "score", "pr2").figure.mean == 1.0
    assert found.bounds["holed"].low == pytest.approx(-1 / 36)
    assert found.bounds["holed"].high == 0.0
    assert beside(runs, "pr2", "rag").bounds == {}
