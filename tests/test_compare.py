"""Runs beside each other."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from profilegym.apps.compare import latex, markdown, plot, run_compare
from profilegym.envs.errors import DataError, OptionError
from profilegym.envs.trajectory import verdict_record
from profilegym.evaluation.compare import Comparison, Row, compare
from profilegym.evaluation.evaluate import Settings, evaluate
from profilegym.evaluation.played import PlayedRun
from profilegym.evaluation.rejudge import rejudge
from profilegym.evaluation.run import RunDirectory

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
    return compare({name: {0: PlayedRun(RunDirectory(runs[name]))} for name in names}, judge)


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
    run = PlayedRun(RunDirectory(runs["pr2"]))

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
    assert "pr2: 6 questions that are not common are left out" in markdown(found)


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("settings: {model: pilot}")

    with pytest.raises(DataError, match="no run of profilegym eval: its recipe names no agent, data"):
        PlayedRun(RunDirectory(tmp_path))


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
    with pytest.raises(OptionError, match="only runs on the same data"):
        beside(runs, "pr2", "elsewhere")


def test_other_judges_are_refused_unless_that_is_wanted(runs: dict[str, Path], tmp_path: Path) -> None:
    lenient = another_judge(runs["rag"], tmp_path / "lenient", "lenient")
    both = {**runs, "lenient": lenient}

    with pytest.raises(OptionError, match="profilegym rejudge lenient --judge rubric"):
        beside(both, "pr2", "lenient")
    assert beside(both, "pr2", "lenient", judge="any").judge == "rubric, lenient"


def test_runs_that_were_rejudged_are_compared_by_that_judge(runs: dict[str, Path], tmp_path: Path) -> None:
    both = {**runs, "lenient": another_judge(runs["rag"], tmp_path / "lenient", "lenient")}
    with pytest.raises(DataError, match="holds no verdict of rubric"):
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
    assert "holed: 1 common questions have no score there" in markdown(found)


def test_the_table_is_markdown_and_latex(runs: dict[str, Path]) -> None:
    found = replace(beside(runs, "pr2", "rag"), judge="my_judge|50%")

    rows = [line for line in markdown(found).splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {6}
    text = latex(found)
    assert r"score, my\_judge|50\% & pr2 &" in text
    assert text.count(r"\\") == len(found.rows) + 1


def test_the_plot_has_a_line_for_each_difference(runs: dict[str, Path]) -> None:
    lines = list(plot(beside(runs, "pr2", "rag")))

    assert len(lines) == 5
    assert all("●" in line for line in lines[:-1])
    assert len({len(line) for line in lines}) == 1


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
    with pytest.raises(OptionError, match="at least two"):
        run_compare([str(runs["pr2"])], None, "terminal", None, as_json=False)
