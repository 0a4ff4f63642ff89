"""`profilegym train` as it is typed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from matching import naming
from talks import asked, conversation

from profilegym import TrajectoryReader
from profilegym.apps.train import run_train
from profilegym.errors import OptionError
from profilegym.training import checks
from profilegym.training.metrics import read_metrics
from profilegym.training.settings import recipe_names
from profilegym.world.pilot.model import weights

TO_TRAIN = recipe_names()
TELLING_ITS_THREADS = """
import atexit, runpy
from pathlib import Path

def tell():
    print("threads:", *(name.read_text().strip() for name in Path("/proc/self/task").glob("*/comm")))

atexit.register(tell)
runpy.run_module("profilegym", run_name="__main__")
"""


def profilegym(*arguments: str, start: tuple[str, ...] = (sys.executable, "-m", "profilegym")) -> Any:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    return subprocess.run([*start, "train", *arguments], capture_output=True, text=True, timeout=300, env=environment)


@pytest.mark.slow
def test_the_smallest_recipe_trains_two_real_steps(tmp_path: Path) -> None:
    pytest.importorskip("trl")

    run = profilegym("pr2-world-smoke", "--out", str(tmp_path / "run"))

    assert run.returncode == 0, run.stderr[-2000:]
    assert [step["step"] for step in read_metrics(tmp_path / "run" / "metrics.jsonl")] == [1, 2]
    assert len(list(TrajectoryReader(tmp_path / "run" / "trajectories.jsonl"))) == 2 * 4 * 5
    assert {"final", "report.html", "recipe.yaml"} <= {p.name for p in (tmp_path / "run").iterdir()}
    assert "report.html" in run.stdout


@pytest.mark.slow
def test_two_processes_train_one_policy_and_only_the_first_one_concludes(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    program = tmp_path / "program.py"
    program.write_text(TELLING_ITS_THREADS, "utf-8")
    start = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(program))

    test = ["data.test={people: 'world:seed=3,users=8/test'}", "conclusion.questions=2", "conclusion.controls=[none]"]
    run = profilegym("pr2-world-smoke", *test, "--out", str(tmp_path / "run"), start=start)

    assert run.returncode == 0, run.stderr  # the launcher's own words, which are many, come last
    assert len(list(TrajectoryReader(tmp_path / "run" / "trajectories.jsonl"))) == 2 * 4 * 5
    assert run.stdout.count("people: trained") == 1
    assert (tmp_path / "run" / "report.html").exists()
    threads = [line.split() for line in run.stdout.splitlines() if line.startswith("threads:")]
    assert len(threads) == 2
    assert not [name for names in threads for name in names if "gloo" in name]  # with these, a process may abort


@pytest.mark.slow
@pytest.mark.parametrize("name", TO_TRAIN)
def test_every_recipe_can_be_tried_dry_and_asks_no_server_but_those_it_names(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []

    def refused(address: tuple[str, int], *_: object, **__: object) -> None:
        called.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr("socket.create_connection", refused)
    monkeypatch.setattr("socket.socket.connect", lambda _, address: refused(address))
    monkeypatch.chdir(tmp_path)  # where the recipe for LoCoMo looks for its file
    (tmp_path / "data").mkdir()
    talks = [conversation(f"conv-{number}", asked(4), asked(4)) for number in (26, 30, 41, 42, 43, 44, 47)]
    (tmp_path / "data" / "locomo10.json").write_text(json.dumps(talks), "utf-8")
    run_train(name, [], tmp_path / "run", dry_run=True)

    told = capsys.readouterr().out
    assert all(f"http://{host}:" in told for host in called)  # of servers that the recipe names
    assert "tokens written" in told
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_dry_run_of_the_large_recipe_tells_what_its_judge_takes_and_what_it_could_not_check() -> None:
    run = profilegym("pr2-lamp-qa-qwen2.5-7b-8gpu", "--dry-run")

    assert run.returncode == 0, run.stderr
    for part in ("judge calls", "judge tokens read", "cost: not known", "not checked here:", "not downloaded: hf:Qwen"):
        assert part in run.stdout
    assert "weights: float32, computed in bfloat16" in run.stdout
    assert "a step of 96 rows, 2 in a pass: 48 passes for all processes together" in run.stdout


def test_a_dry_run_tells_the_cost_where_the_prices_are_known(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    judge = "openai:m,base_url=http://localhost:1/v1,price_in=1,price_out=4"
    run_train("pr2-world", [f"reward=pr2:{judge}"], None, dry_run=True)

    assert "judge cost" in capsys.readouterr().out


@pytest.mark.slow
def test_what_cannot_work_ends_a_dry_run_with_1_after_the_plan() -> None:
    run = profilegym("pr2-world", "retriever=bm52", "agent=pr3", "--dry-run")

    assert run.returncode == 1
    assert "tokens written" in run.stdout
    assert run.stderr.startswith("profilegym: this run cannot work:\n  no agent 'pr3'")
    assert "Traceback" not in run.stderr


def test_what_cannot_work_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=naming("users=4", "'test'", 8)):
        run_train("pr2-world", ["data.test.test=world:users=4/test"], tmp_path / "run", dry_run=False)

    assert not (tmp_path / "run").exists()


def test_a_missing_file_that_a_recipe_names_is_told_with_the_variable_to_change() -> None:
    with pytest.raises(OptionError, match=naming("no file none.json", "variables.file=none.json")):
        run_train("pr2-locomo-smollm2", ["variables.file=none.json"], None, dry_run=False)


def test_a_package_that_the_run_needs_is_asked_for_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda package: None if package == "trackio" else True)

    with pytest.raises(OptionError, match="pip install trackio"):
        run_train("pr2-world", ["watch.report_to=[trackio]"], tmp_path / "run", dry_run=False)
    run_train("pr2-world", ["watch.report_to=[trackio]"], tmp_path / "run", dry_run=True)


def test_the_commands_that_follow_a_run_keep_the_chat_template_of_training(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("trl")
    for name in ("training.train.train", "training.report.conclude.conclude"):
        monkeypatch.setattr(f"profilegym.{name}", lambda *_: None)

    run_train("pr2-world-smoke", [f"model=hf:{weights()},system=Be brief."], tmp_path, dry_run=False)

    told = capsys.readouterr().out
    assert f"profilegym play --model 'hf:{tmp_path}/final,system=Be brief.' --data " in told
    assert f"profilegym eval --agent pr2 --model 'hf:{tmp_path}/final,system=Be brief.' --data " in told


@pytest.mark.slow
def test_a_misspelt_setting_is_one_line(tmp_path: Path) -> None:
    run = profilegym("pr2-world", "optimiser.stepz=3")

    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == "profilegym: pr2-world.yaml: no setting 'optimiser.stepz'; did you mean 'steps'?\n"
