"""`inspect eval` by its own command, and its log read back by `profilegym import`."""

import subprocess
import sys
import tempfile
from pathlib import Path

import inspect_ai

from profilegym import RunDirectory

TASK = Path(__file__).parent / "inspect_mocked.py"

with tempfile.TemporaryDirectory() as folder:
    logs, run = Path(folder, "logs"), Path(folder, "run")
    (Path(folder) / TASK.name).write_text(TASK.read_text("utf-8"), "utf-8")
    command = [
        sys.executable,
        "-m",
        inspect_ai.__name__,
        *f"eval {TASK.name} --limit 2 --display none --log-dir {logs}".split(),
    ]
    subprocess.run(command, check=True, cwd=folder)
    (log,) = logs.glob("*.eval")
    subprocess.run(
        [sys.executable, "-m", "profilegym", "import", "inspect", str(log), "--out", str(run)], check=True, cwd=folder
    )
    records = list(RunDirectory(run).trajectories())
assert len({record.question_id for record in records}) == 2
assert [record.answer for record in records] == ["I do not know."] * 2
print("2 episodes imported")
