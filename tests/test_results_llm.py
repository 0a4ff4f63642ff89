"""The page of results with a pretrained model: its plan, and what it says of the runs that there are."""

import asyncio
import json
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any
from xml.etree import ElementTree

import pytest
from matching import naming
from talks import asked, conversation

pytest.importorskip("trl")
import torch

from profilegym.envs.data import load_questions
from profilegym.errors import OptionError
from profilegym.evaluation.evaluate import evaluate
from profilegym.evaluation.intervals import Interval
from profilegym.evaluation.recorded_run import RecordedRun
from profilegym.evaluation.run import RunDirectory
from profilegym.studies import llm_curves, llm_locomo_tables, llm_tables, results_llm
from profilegym.studies.llm_arms import (
    ARMS,
    FOLDS,
    HOURS,
    LOCOMO,
    LOCOMO_RAG,
    TRIALS,
    WORLD,
    WORLD_LESSONS,
    WORLD_RAG_LESSONS,
)
from profilegym.studies.llm_runs import Bench, Run, make_all
from profilegym.studies.page import figure
from profilegym.training.policy import load_policy, save_policy
from profilegym.training.recipe import Recipe
from profilegym.training.stages import load_any

PAGE = Path(__file__).parent.parent / "docs" / "results-llm.md"
SVG = "{http://www.w3.org/2000/svg}"
PLAYERS = {"trained": "scripted:oracle", "untrained": "scripted:world", "oracle": "scripted:oracle"}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    talks = [
        conversation(f"conv-{number}", *([asked(4)] * 3), asked(5), asked(5)) for number in (26, 30, 41, 42, 43, 44, 47)
    ]
    (tmp_path / "talks.json").write_text(json.dumps(talks), "utf-8")
    return Bench(tmp_path / "runs", tmp_path / "talks.json", tmp_path / "records")


def conclude(bench: Bench, run: Run, players: dict[str, str]) -> None:
    """Play the run's test sets with stand-ins, as its conclusion would."""
    stage = bench.stage(run)
    assert isinstance(stage.recipe, Recipe)
    out = stage.folder.parent
    with RunDirectory(out).writing(load_any(ARMS[run.name].recipe, bench._settings(run)).model_dump()):
        for test, data in stage.recipe.data.test.items():
            for who, model in players.items():
                settings = stage.recipe.playing(data, 12, model=model)
                asyncio.run(evaluate(settings, RunDirectory(stage.folder / "evaluations" / test / who)))
    steps = [{"step": step, "score": step / 4, "baseline": 0.25, "searches": 1.5} for step in (1, 2, 3)]
    del steps[1]["baseline"]  # as where none could be scored
    RunDirectory(stage.folder).write_text("metrics.jsonl", "\n".join(map(json.dumps, ({"step": 0}, *steps))))
    RunDirectory(stage.folder).write_json("summary.json", {})
    bench.keep(run)


def test_the_plan_keeps_to_its_hours_and_begins_with_the_main_recipes(bench: Bench) -> None:
    runs = bench.plan()

    assert sum(run.minutes for run in runs) / 60 / 2 <= HOURS
    first = (WORLD_LESSONS, WORLD_RAG_LESSONS, WORLD, LOCOMO)
    assert [run.label for run in runs[:4]] == [f"{name}-0" for name in first]
    assert {run.name for run in runs} == {*ARMS, *TRIALS}
    assert all(run.minutes <= 75 for run in runs if run.name in ARMS and ARMS[run.name].recipe == WORLD)


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_is_a_recipe_that_loads(bench: Bench, name: str) -> None:
    for run in bench.plan([name]):
        assert bench.stage(run).recipe.seed == run.number


@pytest.mark.parametrize("name", TRIALS)
def test_every_trial_has_settings_that_can_be_played(bench: Bench, name: str) -> None:
    settings = bench._trial(bench.plan([name])[0])

    assert settings.arguments[0] == "--agent"


def test_of_seven_conversations_six_are_tested_once_and_none_where_it_trains_or_is_watched() -> None:
    folds = [[set(part.split("+")) for part in fold] for fold in FOLDS]
    tested = [name for _, _, test in folds for name in sorted(test)]

    assert len(tested) == len(set(tested)) == 6
    assert all(len(train) == 4 and len(watched) == 1 and len(test) == 2 for train, watched, test in folds)
    assert all(len(train | watched | test) == 7 for train, watched, test in folds)
    (always,) = set.union(*folds[0]) - set(tested)
    assert all(always in train for train, _, _ in folds)


def test_a_run_waits_for_the_warm_start_that_it_begins_with(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def train(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        out = Path(command[-1])
        made.append(out.name)
        (out / "sft" / "final").mkdir(parents=True)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", train)
    monkeypatch.setattr(Bench, "_keep_start", lambda *_: None)
    failed = list(make_all(bench, bench.plan(["locomo-no-read-around", LOCOMO, WORLD, WORLD_LESSONS]), jobs=2))

    assert failed == []
    assert made.index("locomo-no-read-around-0") > made.index(f"{LOCOMO}-0")
    assert all(made.index(f"{WORLD}-{number}") > made.index(f"{WORLD_LESSONS}-0") for number in range(3))
    several = [f"{name}-{number}" for name in (WORLD, LOCOMO) for number in range(3)]
    assert sorted(made) == sorted([f"{WORLD_LESSONS}-0", "locomo-no-read-around-0", *several])


def test_a_kept_warm_start_is_not_trained_again(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, small = bench.plan([WORLD_LESSONS])[0], ("stages.sft.model=pilot", "stages.sft.lora={rank: 2}")
    bench = Bench(bench.folder, bench.file, tmp_path / "records", small)
    final = bench.place(run) / "final"

    def train(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        policy = load_policy("pilot")
        weight = policy.model.state_dict()["model.layers.0.mlp.up_proj.weight"]
        weight += torch.outer(torch.rand(len(weight)), torch.rand(weight.shape[1])) / 10
        save_policy(policy.model, policy.tokenizer, final)
        return subprocess.CompletedProcess(command, 0)

    with RunDirectory(bench._out(run)).writing(load_any(ARMS[run.name].recipe, bench._settings(run)).model_dump()):
        assert bench.state(run) == "missing"
    monkeypatch.setattr(subprocess, "run", train)
    assert list(make_all(bench, [run], jobs=1)) == []
    assert bench.state(run) == "done"
    learned, before = (load_policy(spec).model.state_dict() for spec in (f"hf:{final}", "pilot"))

    bench.folder.rename(tmp_path / "gone")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("trained again"))
    assert bench.state(run) == "recorded"
    assert bench.left([WORLD_LESSONS]) == []
    assert list(make_all(bench, [run], jobs=1)) == []

    again = load_policy(f"hf:{final}").model.state_dict()
    assert all(torch.equal(again[name], learned[name]) for name in learned)
    (changed,) = [name for name in learned if not torch.equal(learned[name], before[name])]
    assert changed == "model.layers.0.mlp.up_proj.weight"
    assert (tmp_path / "records" / f"{run.label}.safetensors").stat().st_size < 20_000
    with pytest.raises(OptionError, match=naming(f"{run.label}.safetensors", "other settings")):
        Bench(bench.folder, bench.file, tmp_path / "records").record(run)


def test_a_trial_of_the_policy_before_grpo_needs_no_more_than_the_warm_start(bench: Bench) -> None:
    before, after = (bench.plan([name])[0] for name in ("world-rpm", "world-k-1"))

    assert not bench.ready(before)
    assert bench.left(["world-rpm"]) == [*bench.plan([WORLD_LESSONS]), before]
    (bench.folder / f"{WORLD_LESSONS}-0" / "sft" / "final").mkdir(parents=True)
    assert bench.ready(before)
    assert not bench.ready(after)
    assert bench.start(after) == bench.plan([WORLD])[0]


def test_a_training_that_fails_is_told_and_those_that_wait_for_it_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 3))

    failed = list(make_all(bench, bench.plan(["locomo-no-read-around", LOCOMO]), jobs=2))

    assert len(failed) == 4
    assert "ended with 3" in failed[0]
    assert failed[-1] == f"locomo-no-read-around-0 waits for {LOCOMO}-0"


def test_the_page_shows_the_runs_that_there_are_and_the_commands_of_the_others(bench: Bench) -> None:
    run = bench.plan([WORLD])[0]
    conclude(bench, run, PLAYERS)
    summary = json.loads((bench.place(run) / "evaluations/test/untrained/summary.json").read_text())

    shown, made = llm_tables.world(bench), results_llm.runs_made(bench)

    assert f"| PR2, after the warm start | test | 1, 12 | {figure(Interval(**summary['score']))} |" in shown
    assert "| one-shot RAG, trained | test | 0, 0 | – |" in shown
    assert "test, PR2 over RAG, both trained, more than 1.3: not known" in shown
    assert "test, over the oracle, more than 0.9: **supported**, 1.000" in shown
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    assert f"| `{WORLD}` | 1 of 3 seeds | {day} | `python -m profilegym.studies.results_llm --only {WORLD}` |" in made


def test_questions_that_need_no_history_are_told_by_whether_they_were_searched_for(bench: Bench) -> None:
    run = bench.plan([WORLD])[0]
    conclude(bench, run, PLAYERS)
    recipe = bench.stage(run).recipe
    assert isinstance(recipe, Recipe)
    hops = {question.id: question.rubric.hops for question in load_questions(recipe.data.test["test"])[:12]}
    expected = Counter[tuple[str, str]]()
    for who in ("trained", "untrained"):
        for played in RunDirectory(bench.place(run) / "evaluations" / "test" / who).trajectories():
            if played.kind == "personalised" and hops[played.question_id] == 0:
                expected[who, "yes" if played.searches else "no"] += 1

    rows = [line[2:].split(" | ") for line in llm_tables.world(bench).splitlines()]

    told = {(row[0], row[2]): int(row[3]) for row in rows if row[1:2] == ["test"] and row[2] in ("yes", "no")}
    for who, name in {"trained": "PR2, trained", "untrained": "PR2, after the warm start"}.items():
        assert [told[name, searched] for searched in ("yes", "no")] == [expected[who, s] for s in ("yes", "no")]
    assert expected["trained", "no"] > 0


def test_arms_are_compared_with_the_main_run_of_seed_0_and_with_its_start_by_hops(bench: Bench) -> None:
    main, other = bench.plan([WORLD])[:2]
    (arm,) = bench.plan(["world-plain"])
    conclude(bench, main, PLAYERS | {"untrained": "scripted:world,flaws=1"})
    conclude(bench, other, dict.fromkeys(PLAYERS, "scripted:oracle"))  # another seed, which no row is about
    conclude(bench, arm, PLAYERS | {"trained": "scripted:world,flaws=1"})

    rows = [
        line[2:].split(" | ") for line in llm_tables.one_seed(bench).partition("hops of the question")[2].splitlines()
    ]

    told = {tuple(row[:3]): [cell.partition(" ")[0] for cell in row[3:]] for row in rows}
    assert ("`pr2-world-smollm2`", "score", "main run") not in told
    assert float(told["`world-plain`", "score", "main run"][0]) < 0
    for metric in ("score", "searches"):
        gained, behind = (
            told[f"`{name}`", metric, less] for name, less in ((WORLD, "start"), ("world-plain", "main run"))
        )
        assert {*told["`world-plain`", metric, "start"]} == {"+0.000"}  # it plays as the start does
        assert [value.replace("+", "-") for value in gained] == [value.replace("+", "-") for value in behind]


def test_evidence_is_pooled_over_folds_and_its_interval_is_over_questions(bench: Bench) -> None:
    for run in bench.plan([LOCOMO])[:2]:
        conclude(bench, run, {"trained": "scripted:explorer", "untrained": "scripted:searcher"})

    shown = llm_locomo_tables.locomo(bench)

    assert "- less the trained one-shot RAG, more than 0: not known" in shown
    of_evidence, of_answers = [line for line in shown.splitlines() if line.startswith("- less before training")]
    assert of_evidence != of_answers
    row, _ = [line for line in shown.splitlines() if line.startswith("| PR2, trained |")]
    assert row.split(" | ")[1:3] == ["2, 6", "4"]
    assert "; 6]" in row
    (habit,) = [line for line in shown.splitlines() if line.startswith("| trained | 1 |")]
    assert habit.split(" | ")[2] == "3"


def test_answers_are_compared_where_both_were_shown_all_evidence(bench: Bench) -> None:
    for name, model in ((LOCOMO, "scripted:searcher"), (LOCOMO_RAG, "scripted:explorer")):
        conclude(bench, bench.plan([name])[0], {"trained": model})
    ours, rag = (bench.played(name, "test")[0] for name in (LOCOMO, LOCOMO_RAG))
    both = [n for n in ours if all(played[n].values["evidence"] == 1 for played in (ours, rag))]

    rows = [line.split(" | ") for line in llm_locomo_tables.locomo(bench).splitlines() if line.startswith("| all |")]

    assert both
    ((_, *found, less),) = rows
    means = [fmean(played[n].values["score"] for n in both) for played in (ours, rag)]
    assert [one.partition(" ")[0] for one in found] == [f"{mean:.3f}" for mean in means]
    assert less.startswith(f"{means[0] - means[1]:+.3f}")
    assert f"; {len(both)}]" in less or "no interval" in less


def test_r2ps_corrections_are_told_of_what_played_with_them(bench: Bench) -> None:
    conclude(bench, bench.plan([WORLD])[0], PLAYERS)
    for name in ("world-r2p-twice", "world-r2p-never"):
        run = bench.plan([name])[0]
        settings = replace(bench._trial(run), model="pilot", limit=6)  # which knows no headings
        asyncio.run(evaluate(settings, RunDirectory(bench.place(run))))
        bench.keep(run)
    found = json.loads((bench.place(bench.plan(["world-r2p-twice"])[0]) / "summary.json").read_text())

    rows = {row.split(" | ")[0][2:]: row.split(" | ")[1:-1] for row in llm_tables.r2p(bench).splitlines()[2:]}

    corrected, uncorrected = (rows[f"after the warm start, {what}"] for what in ("at most two", "no correction"))
    assert corrected[:3] == ["1, 6", *(figure(Interval(**found[name])) for name in ("interventions", "compliance"))]
    assert found["interventions"]["mean"] > 0
    assert uncorrected[1].startswith("0.000 [")
    assert rows["as it comes, at most three"][:2] == ["0, 0", "–"]


def test_prlm_is_shown_beside_all_that_it_was_compared_with(bench: Bench) -> None:
    assert llm_tables.methods(bench) == "Not run yet."
    players = {"trained": "scripted:world", "untrained": "scripted:world,flaws=1", "rag": "scripted:world"}
    conclude(bench, bench.plan(["prlm"])[0], players)

    rows = [row.split(" | ") for row in llm_tables.methods(bench).splitlines()[2:]]

    assert [row[1] for row in rows] == ["rag", "trained", "untrained"]
    assert rows[0][4].startswith("+0.000")
    assert rows[1][4] == ""
    assert rows[2][4].startswith("+")
    assert float(rows[2][4].split()[0]) > 0


def test_a_record_that_is_older_than_a_figure_lacks_it(bench: Bench) -> None:
    run = bench.plan([WORLD])[0]
    conclude(bench, run, PLAYERS)
    path = bench.folder.parent / "records" / f"{run.label}.json"
    kept = json.loads(path.read_text())
    for lines in kept["played"]["test"].values():
        for line in lines.values():
            del line[-2:]
    path.write_text(json.dumps(kept))

    assert "| PR2, trained | test | 1, 12 | 1.000" in llm_tables.world(bench)


def test_a_run_of_other_settings_is_never_shown(bench: Bench) -> None:
    conclude(bench, bench.plan([WORLD])[0], PLAYERS)
    other = ["stages.grpo.optimiser.steps=7"]

    with pytest.raises(OptionError, match=naming(f"{WORLD}-0.json", "other settings")):
        Bench(bench.folder, bench.file, bench.folder.parent / "records", other).played(WORLD, "test")
    with pytest.raises(OptionError, match=naming("stages")):
        Bench(bench.folder, bench.file, bench.folder / "elsewhere", other).keep(bench.plan([WORLD])[0])
    folders = ["--runs", str(bench.folder / "none"), "--records", str(bench.folder.parent / "records")]
    with pytest.raises(SystemExit, match=naming("other settings", "--records")):
        results_llm.main(["--dry-run", "--only", WORLD, *folders, "--set", *other])


def test_the_page_needs_no_run_but_its_record(bench: Bench) -> None:
    for run in (bench.plan([WORLD])[0], bench.plan([LOCOMO])[0]):
        conclude(bench, run, PLAYERS)
    page = [section(bench) for section in results_llm.SECTIONS.values()]
    bench.folder.rename(bench.folder.with_name("gone"))

    assert [section(bench) for section in results_llm.SECTIONS.values()] == page
    assert bench.state(bench.plan([WORLD])[0]) == "recorded"
    assert [run.label for run in bench.left([WORLD, "world-k-5"])] == [
        *(f"{WORLD_LESSONS}-0", f"{WORLD}-0", f"{WORLD}-1", f"{WORLD}-2", "world-k-5-0")
    ]


def test_episodes_of_the_world_are_kept_for_the_viewer_where_the_run_is_not(bench: Bench) -> None:
    run, archive = bench.plan([WORLD])[0], bench.folder.parent / "records" / f"{WORLD}-0.tar.gz"
    conclude(bench, run, PLAYERS)
    played = RunDirectory(bench.stage(run).folder / "evaluations" / "test" / "trained")
    kept = archive.read_bytes()
    bench.keep(run)

    assert archive.read_bytes() == kept
    assert bench.show(run) is None
    expected = {one.id: [segment.text for segment in one.segments] for one in played.trajectories()}
    bench.folder.rename(bench.folder.with_name("gone"))
    folder = bench.show(run)

    assert folder == bench.folder / "recorded" / f"{WORLD}-0"
    assert sorted(path.name for path in folder.iterdir()) == ["after", "before"]
    found = {one.id: one.segments for one in RecordedRun(RunDirectory(folder / "after")).trajectories()}
    assert {name: [segment.text for segment in segments] for name, segments in found.items()} == expected
    assert all(segment.tokens is None for segments in found.values() for segment in segments)


def test_records_hold_no_text_of_conversations(bench: Bench) -> None:
    run = bench.plan([LOCOMO])[0]
    conclude(bench, run, PLAYERS)

    said = [question.text for question in load_questions(f"locomo:{bench.file}")]
    (kept,) = (bench.folder.parent / "records").iterdir()
    assert not [text for text in said if text in kept.read_text("utf-8")]


def test_what_the_rollouts_found_is_drawn_by_seed(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert llm_curves.pictures(bench) == "No curves yet."
    for run in bench.plan([WORLD])[:2]:
        conclude(bench, run, PLAYERS)
    (tmp_path / "docs").mkdir()
    shutil.copy(PAGE, tmp_path / "docs")
    monkeypatch.chdir(tmp_path)

    results_llm.main(["--page", "--runs", str(bench.folder), "--records", str(tmp_path / "records")])

    shown = (tmp_path / "docs" / "results-llm.md").read_text("utf-8")
    files = re.findall(r"^!\[[^]]+\]\((results-llm/[a-z0-9-]+\.svg)\)$", shown, re.MULTILINE)
    assert files == [f"results-llm/{WORLD}-{figure}.svg" for figure in ("score", "searches")]
    score, searches = (ElementTree.parse(tmp_path / "docs" / file).getroot() for file in files)
    assert score.tag == f"{SVG}svg"
    assert [found.text for found in score.iter(f"{SVG}text")][-3:] == ["seed 0", "seed 1", "no profile"]
    raw = [line.get("points", "") for line in score.iter(f"{SVG}polyline") if "raw" in line.get("class", "")]
    heights = [[float(point.partition(",")[2]) for point in line.split()] for line in raw]
    assert heights[0] == heights[1] == sorted(heights[0], reverse=True)  # pixels from the top: the score rises
    assert len({*heights[2]}) == 1
    assert len([*searches.iter(f"{SVG}polyline")]) == 2 * 3  # with the legend's


def test_questions_before_and_after_show_what_was_searched_for(bench: Bench) -> None:
    assert llm_tables.before_after(bench) == "Not run yet."
    conclude(bench, bench.plan([WORLD])[0], PLAYERS)

    rows = llm_tables.before_after(bench).splitlines()[2:]

    assert 2 <= len(rows) <= 20
    assert all(row.split(" | ")[1] == ("before", "after")[number % 2] for number, row in enumerate(rows))


def test_the_page_is_written_from_whatever_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "results-llm.md").write_text(PAGE.read_text("utf-8"), "utf-8")
    monkeypatch.chdir(tmp_path)

    results_llm.main(["--page"])

    written = (tmp_path / "docs" / "results-llm.md").read_text("utf-8")
    assert written.count("--only") == len({*ARMS, *TRIALS})
    assert "Not run yet." in written


def test_a_dry_run_tells_what_is_left_and_runs_nothing(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    results_llm.main(["--dry-run", "--only", WORLD, "--runs", str(bench.folder), "--records", str(bench.folder)])

    told = capsys.readouterr().out
    assert f"| {WORLD}-2 | missing |" in told
    assert f"| {WORLD_LESSONS}-0 | missing; others begin with it | 50 |" in told
    assert "4.6 hours of a core in all, 4.6 of them left" in told
    assert not bench.folder.exists()


def test_a_dry_run_counts_what_runs_again_because_others_begin_with_it(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    conclude(bench, bench.plan([LOCOMO])[0], PLAYERS)
    bench.folder.rename(bench.folder.with_name("gone"))
    where = ["--file", str(bench.file), "--runs", str(bench.folder), "--records", str(bench.folder.parent / "records")]
    results_llm.main(["--dry-run", "--only", "locomo-no-read-around", *where])

    told = capsys.readouterr().out
    assert f"| {LOCOMO}-0 | recorded; others begin with it | 110 |" in told
    assert "2.9 hours of a core in all, 2.9 of them left" in told


def test_a_stage_is_changed_in_the_runs_that_have_it(bench: Bench) -> None:
    changes = ("stages.grpo.optimiser.steps=7", "stages.sft.optimiser.steps=5")
    changed = Bench(bench.folder, bench.file, bench.folder.parent / "records", changes)

    steps = {
        run.label: changed.stage(run).recipe.model_dump()["optimiser"]["steps"]
        for run in changed.plan([WORLD, WORLD_LESSONS, "prlm", "tagpr"])
        if run.number == 0
    }

    assert steps == {f"{WORLD_LESSONS}-0": 5, f"{WORLD}-0": 7, "prlm-0": 7, "tagpr-0": 24}
    with pytest.raises(OptionError, match=naming("'gpo'", "exploratory")):
        Bench(bench.folder, bench.file, bench.folder.parent / "records", ["stages.gpo.seed=1"])


def test_a_trial_is_part_of_the_run_that_it_is_played_with(bench: Bench) -> None:
    run = bench.plan(["world-k-5"])[0]

    assert bench.place(run) == bench.folder / f"{WORLD}-0" / "trials" / "world-k-5"
    assert bench._trial(run).top_k == 5
    assert bench._trial(replace(run, name="locomo-adversarial")).data.endswith("/conv-26+conv-30,categories=5")
