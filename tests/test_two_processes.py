"""Two processes train together, with groups that straddle them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_policy import make_tiny_policy, recipe

from profilegym import Trajectory, TrajectoryReader
from profilegym.training.metrics import read_metrics

pytest.importorskip("trl")
pytest.importorskip("torch")

pytestmark = pytest.mark.slow

SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from tiny_policy import recipe
from profilegym.training.train import train
train(recipe(Path(sys.argv[1]), optimiser={"steps": 1, "questions": 3}), Path(sys.argv[2]), lambda *_: None)
"""


def played(out: Path) -> dict[str, Trajectory]:
    return {trajectory.id: trajectory for trajectory in TrajectoryReader(out / "trajectories.jsonl")}


def test_a_group_that_straddles_two_processes_has_the_advantages_of_one(tmp_path: Path) -> None:
    policy = make_tiny_policy(tmp_path / "policy")
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    arguments = [str(script), str(policy), str(tmp_path / "two"), str(Path(__file__).parent)]
    launched = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    done = subprocess.run(launched, capture_output=True, timeout=120, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr.decode()[-3000:]

    from profilegym.training.train import train

    asked = recipe(policy, optimiser={"steps": 1, "questions": 3})  # three groups of four on two processes of six rows
    train(asked, tmp_path / "one", lambda *_: None)

    one, two = played(tmp_path / "one"), played(tmp_path / "two")
    assert one.keys() == two.keys()
    for name, trajectory in one.items():
        assert [s.tokens for s in two[name].segments] == [s.tokens for s in trajectory.segments]
        assert two[name].advantage == pytest.approx(trajectory.advantage)
        assert two[name].baseline == trajectory.baseline
    (alone,), (together,) = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("one", "two"))
    assert together["score"] == pytest.approx(alone["score"])
    assert together["loss"] == pytest.approx(alone["loss"], abs=1e-5)
