"""What the README and the examples show works as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_readmes_python_runs() -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)

    subprocess.run([sys.executable, "-W", "error", "-c", snippet], check=True, cwd=ROOT)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("example", "says"),
    [
        ("step_an_episode.py", "reward 1.000"),
        ("judge_one_answer.py", "calls     3, and 0 more when asked again"),
        ("mcp_tool.py", "3. [2018-03-24] So it begins."),
    ],
)
def test_an_example_runs(example: str, says: str) -> None:
    if example == "mcp_tool.py":
        pytest.importorskip("mcp")
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / example)]

    run = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)

    assert says in run.stdout
    assert run.stderr == ""


def test_every_file_that_the_readme_links_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text("utf-8"))

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
