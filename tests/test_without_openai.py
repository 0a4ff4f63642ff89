"""The core works where the extra `endpoint` is not installed, and says what is missing where an endpoint is named."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HIDDEN = "import sys; sys.modules.update(openai=None, aiohttp=None)\n"
AN_EPISODE = """
import gymnasium as gym, profilegym as pg
env = gym.make("profilegym/ProfileQA-v0", data="world:users=20/test", retriever="bm25", reward="rubric")
env.reset(seed=7)
env.step("<search>food</search>")
_, _, terminated, _, info = env.step("<answer>Salmon.</answer>")
assert terminated and info["trajectory"].verdict.judge == "rubric"
"""
AN_ENDPOINT = """
import profilegym as pg
from profilegym.errors import MissingExtra
for make, prefix in ((pg.Endpoint, ""), (pg.make_judge, "openai:"), (pg.make_model, "openai:")):
    try:
        make(f"{prefix}gpt-5-mini")
    except MissingExtra as error:
        print(error)
"""
THE_PILOT = """
from profilegym.apps.cli import main
sys.argv[1:] = "eval --agent pr2 --model pilot --data world:users=20/test --limit 2 --out .".split()
main()
"""


def run(code: str, folder: Path) -> str:
    command = [sys.executable, "-c", HIDDEN + code]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=120).stdout


def test_an_episode_is_played_and_scored(tmp_path: Path) -> None:
    run(AN_EPISODE, tmp_path)


@pytest.mark.parametrize("command", ["--help", "eval --help", "judge audit --help"])
def test_the_command_line_tells_what_it_can_do(command: str, tmp_path: Path) -> None:
    code = f"from profilegym.apps.cli import main; sys.argv[1:] = {command.split()}; main()"

    assert "Usage: profilegym" in run(code, tmp_path)


def test_the_pilot_is_evaluated(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    run(THE_PILOT, tmp_path)

    assert (tmp_path / "report.html").is_file()


def test_an_endpoint_says_how_to_install_what_it_needs(tmp_path: Path) -> None:
    told = run(AN_ENDPOINT, tmp_path).splitlines()

    assert len(told) == 3
    assert all("openai:gpt-5-mini" in line and "pip install 'profilegym[endpoint]'" in line for line in told)
