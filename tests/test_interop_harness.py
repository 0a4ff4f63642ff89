"""Inspect and verifiers beyond the episode that every framework plays, and their examples."""

import sys
import tempfile
from subprocess import run

import pytest
from test_interop import output

from profilegym.errors import MissingExtra


@pytest.mark.slow
def test_inspects_agents_use_our_tools_and_runs_are_written_as_its_logs_and_read_back() -> None:
    done = output("inspect", "tests/interop/inspect_more.py").split()

    assert done == [
        "an_agent_of_inspect_searches_with_our_tool_and_its_submission_is_the_answer",
        "its_generate_loop_calls_our_tools_too",
        "a_model_answers_by_the_tool_that_the_prompt_names",
        "text_beside_a_call_that_a_limit_cut_off_is_no_answer",
        "an_agent_that_searches_too_often_is_told_so",
        "the_control_has_no_profile",
        "a_run_that_is_written_as_a_log_is_read_back_as_it_was",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("framework", "example", "says"),
    [
        ("inspect", "inspect_task.py", "world-0-000007-0: 1 searches, score "),
        ("verifiers", "verifiers_eval.py", "baseline     world-0-000007-0: 0 searches, reward 0.0"),
    ],
)
def test_its_example_runs(framework: str, example: str, says: str) -> None:
    assert says in output(framework, f"examples/{example}")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["inspect", "verifiers"])
def test_without_the_framework_the_error_names_the_extra(name: str) -> None:
    module = {"inspect": "inspect_ai"}.get(name, name)
    code = f"import sys; sys.modules[{module!r}] = None; import profilegym.interop.{name}"

    done = run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tempfile.gettempdir())

    assert MissingExtra.__name__ in done.stderr
    assert f"profilegym[{name}]" in done.stderr
