"""The tables of docs/methods.md: LaMP's own columns, a row for each method, and runs that are not played twice."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from matching import naming

from profilegym.evaluation.evaluate import Settings, evaluate
from profilegym.evaluation.recorded_run import RecordedRun
from profilegym.evaluation.run import RunDirectory
from profilegym.rewards.label_metrics import accuracy, macro_f1, mae, rmse
from profilegym.studies import methods
from profilegym.studies.methods import PAGE, TASKS, main, measured
from profilegym.world.data.tables import task_tables
from profilegym.world.pilot.model import FOLDER

pytest.importorskip("rouge_score")
pytest.importorskip("transformers")

TAGS = "world-lamp-2"
Pairs = tuple[Sequence[str], Sequence[str]]  # answers and references


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what each model plays."""
    monkeypatch.setattr(methods, "AGENTS", ("none", "rag"))
    monkeypatch.setattr(methods, "TOOLS", {"": {}, "k = 1": {"top_k": 1}, "k = 5": {"top_k": 5}})


def page(folder: Path) -> Path:
    """With a place for one table."""
    found = folder / "page.md"
    found.write_text(f"# Methods\n<!-- methods {TAGS} -->\n<!-- /methods {TAGS} -->\nThe end.\n", "utf-8")
    return found


def write(folder: Path, model: str = "scripted:world", limit: int = 8) -> list[list[str]]:
    """The cells of the table's rows."""
    at = page(folder)
    asked = ["--models", model, "--tasks", TAGS, "--limit", str(limit), "--runs", str(folder), "--page", str(at)]
    main(asked)
    rows = [line for line in at.read_text("utf-8").splitlines() if line.startswith("| `")]
    return [row.strip("| ").split(" | ") for row in rows]


def pairs(folder: Path) -> Pairs:
    run = RecordedRun(RunDirectory(folder))
    played = [one for one in run.trajectories() if one.kind == "personalised"]
    return [str(one.answer) for one in played], [str(run.find(one.question_id).rubric.reference) for one in played]


@pytest.mark.parametrize(
    ("task", "by_lamp"),
    [
        (TAGS, [accuracy, lambda said, meant: macro_f1(said, meant, task_tables("tag").labels)]),
        ("world-lamp-3", [mae, rmse]),
    ],
)
def test_the_columns_are_lamps_own(task: str, by_lamp: list[Callable[..., float]], tmp_path: Path) -> None:
    asyncio.run(evaluate(Settings("rag", "scripted:world", TASKS[task].data, limit=40), RunDirectory(tmp_path)))

    found = measured(tmp_path, TASKS[task].columns)

    assert [one.mean for one in found] == pytest.approx([measure(*pairs(tmp_path)) for measure in by_lamp])
    assert all(one.low < one.mean < one.high for one in found)  # type: ignore[operator]
    assert {one.n for one in found} == {40}


@pytest.mark.usefixtures("few")
def test_what_was_played_is_not_played_again(tmp_path: Path) -> None:
    first = write(tmp_path)
    played = sorted(tmp_path.rglob("trajectories.jsonl"))
    before = [path.read_bytes() for path in played]

    again = write(tmp_path)

    assert [row[0].strip("`") for row in first] == [
        *("none", "rag", "r2p"),
        *(f"rpm:upto={upto}" for upto in ("task", "factors", "examples", "thought")),
        *("rpm", "rag, features", "pr2, features"),
    ]
    assert len(played) == len(first)
    assert (again, [path.read_bytes() for path in played]) == (first, before)


@pytest.mark.usefixtures("few")
def test_a_trained_policy_has_rows_for_each_stage_and_for_all_tools_but_its_own_once_more(tmp_path: Path) -> None:
    for stage in ("sft", "guided"):
        (tmp_path / "tagpr-world-lamp-2" / stage).mkdir(parents=True)
        (tmp_path / "tagpr-world-lamp-2" / stage / "final").symlink_to(FOLDER)

    rows = [row for row in write(tmp_path, limit=2) if "tagpr-world-lamp-2" in row[1]]  # which learns with 5 posts

    assert [row[:2] for row in rows] == [
        [f"`{method}`", f"`tagpr-world-lamp-2, {stage}`"]
        for stage in ("sft", "guided")
        for method in ("tagpr", "tagpr, k = 1")
    ]
    assert {row[-1] for row in rows} == {"3"}
    assert (tmp_path / "tagpr-world-lamp-2" / "guided" / "methods" / "tagpr-k-=-1" / "summary.json").exists()


def test_a_page_without_the_place_is_refused_before_anything_is_played(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("# Methods\n", "utf-8")

    with pytest.raises(SystemExit, match=naming("methods world-lamp-2")):
        main(["--tasks", TAGS, "--runs", str(tmp_path), "--page", str(tmp_path / "page.md")])

    assert [path.name for path in tmp_path.iterdir()] == ["page.md"]


def test_the_page_has_a_place_for_each_table() -> None:
    text = (Path(__file__).parents[1] / PAGE).read_text("utf-8")

    assert [name for name in TASKS if f"<!-- methods {name} -->\n" not in text] == []
