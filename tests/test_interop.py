"""One question and a few scripted policies in every framework: the same transcript, searches, reward, unscored cases.

A framework is a file `tests/interop/case_NAME.py`, which runs with the interpreter of `.venv/with-NAME` (made by `make
interop`), or with this one. `python tests/test_interop.py` writes the table of docs/interop.md anew.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest

from profilegym.agents.models import smollm2
from profilegym.interop.estimators import MODES, grouped
from profilegym.training.advantage import Mode, Scale

ROOT = Path(__file__).parent.parent
CASES = sorted(path.stem.removeprefix("case_") for path in (ROOT / "tests/interop").glob("case_*.py"))
APART = ("skyrl", "verl")  # their environments are of some gigabytes each: make interop
MARKED = [pytest.param(case, marks=pytest.mark.large if case in APART else ()) for case in CASES]
SCRIPTS = ("right", "wrong", "corrected", "out of turns", "outage")
_VALUES = run_path(str(ROOT / "tests/interop/values.py"))
ROWS: list[tuple[str, float, bool]] = _VALUES["ROWS"]
EXPECTED: dict[str, tuple[float, ...]] = _VALUES["EXPECTED"]
UNDIVIDED: dict[str, tuple[float, ...]] = _VALUES["UNDIVIDED"]
PAGE = ROOT / "docs/interop.md"
HEAD = (
    "| framework | tested with | does the control count in the group's mean? | what is unscored | tokens |\n"
    "|---|---|---|---|---|\n"
)


@cache
def run(case: str) -> Any:
    """The facts and the results of a framework, which plays all scripts in one process."""
    return json.loads(output(case, f"tests/interop/case_{case}.py").splitlines()[-1])


def output(framework: str, script: str) -> str:
    """What a script writes, run by the interpreter that has the framework."""
    apart = ROOT / f".venv/with-{framework.partition('_')[0]}/bin/python"
    python = str(apart if apart.exists() else sys.executable)
    done = subprocess.run([python, str(ROOT / script)], capture_output=True, text=True)
    if done.returncode and ("ModuleNotFoundError" in done.stderr or "MissingExtra" in done.stderr):
        pytest.skip(f"{framework} is not installed: make interop")
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@cache
def expected(protocol: str) -> Any:
    code = (
        "import json, sys; from dataclasses import asdict; from scripted import SCRIPTS, native; "
        "print(json.dumps({script.name: asdict(native(script, sys.argv[1])) for script in SCRIPTS}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, protocol], cwd=ROOT / "tests/interop", capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("case", MARKED)
def test_every_framework_plays_the_same_episode(case: str, script: str) -> None:
    ran = run(case)

    assert ran["results"][script] == expected(ran["facts"]["protocol"])[script]


def test_the_core_scores_the_scripts_as_they_deserve() -> None:
    for protocol in ("tags", "tools"):
        results = expected(protocol)

        assert set(results) == set(SCRIPTS)
        assert [results[name]["reward"] for name in SCRIPTS] == [1.0, 0.0, 1.0, 0.0, None]
        assert [results[name]["unscored"] for name in SCRIPTS] == [False, False, False, False, True]
        assert [len(results[name]["searches"]) for name in SCRIPTS] == [1, 2, 1, 3, 1]


@pytest.mark.slow
def test_the_package_passes_the_validation_of_openenv() -> None:
    assert "validation passed" in output("openenv", "tests/interop/package_openenv.py")


@pytest.mark.slow
def test_the_client_of_openenv_plays_the_example() -> None:
    assert "done True" in output("openenv", "examples/openenv_client.py")


@pytest.mark.slow
def test_inspect_evaluates_by_its_own_command_and_its_log_is_imported() -> None:
    assert "2 episodes imported" in output("inspect", "tests/interop/inspect_command.py")


@pytest.mark.slow
def test_the_server_of_openenv_has_its_web_page_and_closes_sessions_that_are_idle() -> None:
    assert "the page is there" in output("openenv", "tests/interop/server_openenv.py")


@pytest.mark.slow
def test_sessions_of_openenv_s_client_are_spread_over_workers_that_may_die() -> None:
    assert "spread over workers" in output("openenv", "tests/interop/workers_openenv.py")


@pytest.mark.slow
@pytest.mark.large
def test_an_episode_of_skyrl_is_played_by_the_example() -> None:
    assert "done True, reward 0.0" in output("skyrl", "examples/skyrl_env.py")


@pytest.mark.slow
@pytest.mark.large
@pytest.mark.parametrize("framework", APART)
def test_the_estimators_of_other_trainers_give_the_advantages_of_this_package(framework: str) -> None:
    """Canary: the framework's own mean of a group counts the control too, masked or not."""
    found = json.loads(output(framework, f"tests/interop/estimators_{framework}.py").splitlines()[-1])
    trained = [framework == "skyrl" or not is_control for *_, is_control in ROWS]  # verl masks the control here

    def masked(values: Sequence[float]) -> list[float]:
        return [value if kept else 0.0 for value, kept in zip(values, trained, strict=True)]

    for name, by_mode in (("ours", EXPECTED), ("undivided", UNDIVIDED)):
        assert {mode: pytest.approx(masked(values), abs=1e-5) for mode, values in by_mode.items()} == found[name]
    group_a = slice(5 if framework == "skyrl" else 4)
    for own, by_mode in zip(found["own"], (EXPECTED, UNDIVIDED), strict=True):
        assert own[group_a] == pytest.approx(by_mode["joint"][group_a], abs=1e-4)
    assert found["refused"].endswith("=False: profilegym_code always divides by a deviation; take another estimator")


@pytest.mark.parametrize(
    ("mode", "scale", "expected"),
    [
        *((mode, "group", EXPECTED[mode]) for mode in MODES),
        *((mode, "none", expected) for mode, expected in UNDIVIDED.items()),
    ],
)
def test_the_advantages_of_this_package_are_those_of_the_shared_values(
    mode: Mode, scale: Scale, expected: tuple[float, ...]
) -> None:
    groups, rewards, is_control = zip(*ROWS, strict=True)

    assert grouped(mode, rewards, groups, is_control, scale) == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_the_trainer_of_trl_takes_two_steps_in_the_example() -> None:
    if not (smollm2.folder() / "config.json").exists():
        pytest.skip("the weights are not here: make llm")

    assert "step 2" in output("trl", "examples/trl_environment.py")


@pytest.mark.slow
@pytest.mark.parametrize("case", MARKED)
def test_the_table_says_what_was_tested(case: str) -> None:
    assert row(run(case)["facts"]) in PAGE.read_text("utf-8"), "stale: python tests/test_interop.py"


def row(facts: Any) -> str:
    cells = (facts["framework"], facts["versions"], facts["control"], facts["unscored"], facts["tokens"])
    return f"| {' | '.join(cells)} |"


def write_table() -> None:
    head, mark, rest = PAGE.read_text("utf-8").partition("<!-- table -->\n")
    tail = rest.partition("<!-- /table -->")[2]
    rows = "".join(f"{row(run(case)['facts'])}\n" for case in CASES)
    PAGE.write_text(f"{head}{mark}{HEAD}{rows}<!-- /table -->{tail}", "utf-8")


if __name__ == "__main__":
    write_table()
