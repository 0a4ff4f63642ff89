"""Two processes train together: groups that straddle them, shared evaluations, and what ends one ends both."""

import json
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import pytest
import yaml
from launched import Launcher
from tiny_policy import DATA, recipe, served

from profilegym import Trajectory, TrajectoryReader
from profilegym.training.metrics import read_metrics

pytest.importorskip("trl")
pytest.importorskip("torch")

pytestmark = pytest.mark.slow

VALIDATION = "world:seed=1,users=12/validation"
STEPS = {"steps": 3, "questions": 3}  # three groups of four on two processes of six rows
IN_BATCHES = {"optimiser": STEPS | {"rows": 3, "learning_rate": 1e-3}, "watch": {"evaluate": 0, "save": 1}}


@pytest.fixture(scope="module")
def one_and_two(launch: Launcher, launched_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same step and its evaluations by one process and by two."""
    folder = tmp_path_factory.mktemp("runs")
    changes = {
        "optimiser": {"steps": 1, "questions": 3},
        "data": {"train": DATA, "validation": VALIDATION},
        "watch": {"evaluate": 1, "questions": 5},
    }
    for processes, out in ((1, folder / "one"), (2, folder / "two")):
        outcome = launch("learn", processes, policy=launched_policy, out=out, changes=changes)
        assert set(outcome["ended"].values()) == {"done"}
    return folder / "one", folder / "two"


@pytest.fixture(scope="module")
def one_run(launch: Launcher, launched_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three steps by one process, without an interruption."""
    out = tmp_path_factory.mktemp("one")
    assert launch("learn", 1, policy=launched_policy, out=out, changes=IN_BATCHES)["ended"] == {"0": "done"}
    return out


def played(out: Path) -> dict[str, Trajectory]:
    return {trajectory.id: trajectory for trajectory in TrajectoryReader(out / "trajectories.jsonl")}


def steps(out: Path) -> list[int]:
    return [step["step"] for step in read_metrics(out / "metrics.jsonl") if "loss" in step]


def figures(folder: Path) -> dict[str, Any]:
    """An evaluation's summary without what the clock measured, and without the episodes that ended first."""
    summary = json.loads((folder / "summary.json").read_text())

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(inside) for name, inside in value.items() if name not in ("seconds", "examples")}
        return [plain(inside) for inside in value] if isinstance(value, list) else value

    found: dict[str, Any] = plain(summary)
    return found


def test_a_group_that_straddles_two_processes_has_the_advantages_of_one(one_and_two: tuple[Path, Path]) -> None:
    one, two = map(played, one_and_two)

    assert one.keys() == two.keys()
    for name, trajectory in one.items():
        assert [s.tokens for s in two[name].segments] == [s.tokens for s in trajectory.segments]
        assert two[name].advantage == pytest.approx(trajectory.advantage)
        assert two[name].baseline == trajectory.baseline
    alone, together = (read_metrics(out / "metrics.jsonl")[-1] for out in one_and_two)
    assert together["score"] == pytest.approx(alone["score"])
    assert together["loss"] == pytest.approx(alone["loss"], abs=1e-5)


def test_two_processes_share_an_evaluation_and_find_what_one_finds(one_and_two: tuple[Path, Path]) -> None:
    one, two = (out / "evaluations" / "step-0" for out in one_and_two)

    assert figures(one) == figures(two)
    assert len(list(TrajectoryReader(two / "trajectories.jsonl"))) == len(played(two)) == 2 * 5
    assert {name: t.baseline for name, t in played(one).items()} == {
        name: t.baseline for name, t in played(two).items()
    }
    assert (one_and_two[1] / "best" / "config.json").exists()


@pytest.mark.parametrize("fault", ["full disk", "SIGTERM", "SIGKILL"])
def test_what_ends_one_of_two_processes_ends_both_and_the_same_command_goes_on(
    fault: str, launch: Launcher, launched_policy: Path, tmp_path: Path
) -> None:
    changes = {"optimiser": STEPS, "watch": {"evaluate": 0, "save": 1}}

    outcome = launch("learn", policy=launched_policy, out=tmp_path, changes=changes, fault=fault)
    before = played(tmp_path)
    went_on = launch("learn", policy=launched_policy, out=tmp_path, changes=changes)

    assert outcome["seconds"] < 60
    if fault == "SIGKILL":
        seen = outcome["failed"].items()  # of those that the launcher finds dead at once: the other has lost its peer
        assert seen
        assert seen <= {"1": -9, "0": 1}.items()
    else:
        reason = "No space left" if fault == "full disk" else "signal"
        assert reason in outcome["ended"]["0"]
        assert all(said.startswith("stopped") for said in outcome["ended"].values())
    assert len(before) >= 3 * 4
    assert set(went_on["ended"].values()) == {"done"}
    assert steps(tmp_path) == [1, 2, 3]
    assert played(tmp_path).keys() >= before.keys()
    assert (tmp_path / "final" / "config.json").exists()


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_run_goes_on_with_another_number_of_processes_as_one_process_would_have(
    before: int, after: int, launch: Launcher, launched_policy: Path, one_run: Path, tmp_path: Path
) -> None:
    stopped = launch("learn", before, policy=launched_policy, out=tmp_path, changes=IN_BATCHES, until=1)
    done = launch("learn", after, policy=launched_policy, out=tmp_path, changes=IN_BATCHES)

    assert all(said.startswith("stopped") for said in stopped["ended"].values())
    assert set(done["ended"].values()) == {"done"}
    assert steps(tmp_path) == [1, 2, 3]
    alone, found = played(one_run), played(tmp_path)
    assert {name: [s.tokens for s in t.segments] for name, t in found.items()} == {
        name: [s.tokens for s in t.segments] for name, t in alone.items()
    }
    for whole, part in zip(
        read_metrics(one_run / "metrics.jsonl"), read_metrics(tmp_path / "metrics.jsonl"), strict=True
    ):
        assert part["grad_norm"] == pytest.approx(
            whole["grad_norm"], rel=1e-4
        )  # of the third step: with what was saved


def test_a_run_that_ended_before_it_kept_its_policy_keeps_that_of_its_last_step(
    launch: Launcher, launched_policy: Path, one_run: Path, tmp_path: Path
) -> None:
    copytree(one_run, tmp_path, dirs_exist_ok=True)
    rmtree(tmp_path / "final")

    done = launch("learn", policy=launched_policy, out=tmp_path, changes=IN_BATCHES)

    assert done["ended"] == {"0": "done", "1": "done"}
    assert steps(tmp_path) == [1, 2, 3]
    before, after = ((out / "final" / "model.safetensors").read_bytes() for out in (one_run, tmp_path))
    assert before == after


def test_a_collapse_that_the_first_of_two_processes_sees_ends_both_at_the_same_step(
    launch: Launcher, launched_policy: Path, tmp_path: Path
) -> None:
    changes = {
        "optimiser": STEPS,
        "data": {"train": DATA, "validation": VALIDATION},
        "watch": {"evaluate": 1, "questions": 2, "save": 1, "stop_on_collapse": True},
    }

    outcome = launch("learn", policy=launched_policy, out=tmp_path, changes=changes, fault="collapse")

    assert outcome["ended"] == {"0": "done", "1": "done"}
    assert steps(tmp_path) == [1, 2]
    assert [step.get("collapse") for step in read_metrics(tmp_path / "metrics.jsonl")] == [None, None, ["score"]]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("best", "final")]
    assert weights[0] == weights[1]


def test_two_processes_share_the_conclusion_of_a_run_and_one_writes_it(
    launch: Launcher, launched_policy: Path, tmp_path: Path
) -> None:
    content = {
        "optimiser": {"steps": 1, "questions": 1},
        "data": {"train": DATA, "test": {"test": VALIDATION}},
        "conclusion": {"controls": ["none"], "questions": 3},
    }
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(recipe(launched_policy, **content).model_dump(exclude_none=True)))

    outcome = launch("command", recipe=file, changes=[], out=tmp_path / "run")

    assert outcome["ended"] == {"0": "done", "1": "done"}
    assert (tmp_path / "run" / "report.html").exists()
    assert set(json.loads((tmp_path / "run" / "summary.json").read_text())["tests"]["test"]) == {"trained", "none"}
    assert len(played(tmp_path / "run" / "evaluations" / "test" / "trained")) == 2 * 3


def test_two_processes_learn_from_the_episodes_of_the_first_one_s_rollout_worker(
    launch: Launcher, launched_policy: Path, tmp_path: Path
) -> None:
    with served(launched_policy) as generation:
        changes = {
            "generation": generation,
            "optimiser": {"steps": 2, "questions": 2},
            "lora": {"rank": 4, "alpha": 8},
            "trl": {"max_staleness": 1},
            "data": {"train": DATA, "validation": VALIDATION},
            "watch": {"evaluate": 2, "questions": 2, "save": 1},
        }

        outcome = launch("learn", policy=launched_policy, out=tmp_path, changes=changes)

    assert outcome["ended"] == {"0": "done", "1": "done"}
    metrics = read_metrics(tmp_path / "metrics.jsonl")
    assert [step["step"] for step in metrics if "validation_score" in step] == [0, 2]
    assert steps(tmp_path) == [1, 2]
    assert len(played(tmp_path)) >= 2 * 2 * 4
    assert (tmp_path / "final" / "config.json").exists()
