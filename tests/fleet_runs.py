"""Runs of a fleet as commands, which a test kills, and what they recorded."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from profilegym.evaluation.evaluate import Settings, evaluate
from profilegym.evaluation.run import RunDirectory

PATIENCE = 300.0  # seconds, for a busy machine
ASKED = Settings(model="scripted:oracle", data="world:seed=7,users=200/test", limit=48)
SLOW = '''
import asyncio
from profilegym.agents.models.scripted import make

class Slow:
    """The oracle, which takes its time."""

    def __init__(self):
        self.model = make("oracle")
        self.name = self.model.name

    def open(self, question, seed):
        return Conversation(self.model.open(question, seed))

    async def close(self):
        await self.model.close()

class Conversation:
    def __init__(self, session):
        self.session = session

    async def generate(self, segments, sampling, stop):
        await asyncio.sleep(0.1)
        return await self.session.generate(segments, sampling, stop)

    def close(self):
        self.session.close()
'''


def slow_oracle(folder: Path) -> Settings:
    path = folder / "slow.py"
    path.write_text(SLOW)
    return replace(ASKED, model=f"{path}:Slow")


def unbroken(settings: Settings, out: Path) -> dict[str, Any]:
    asyncio.run(evaluate(settings, RunDirectory(out)))
    return episodes(out)


def episodes(out: Path) -> dict[str, Any]:
    """Each episode by its id, without its times. None is there twice."""
    records = [json.loads(line) for line in (out / "trajectories.jsonl").read_text().splitlines()]
    found = {record["id"]: _timeless(record) for record in records}
    assert len(found) == len(records), "an episode was recorded twice"
    return found


def texts(out: Path) -> dict[str, list[str]]:
    """What was written. Log-probabilities may differ in their last digits, as other episodes share a batch."""
    return {name: [part["text"] for part in episode["segments"]] for name, episode in episodes(out).items()}


def _timeless(record: dict[str, Any]) -> dict[str, Any]:
    for search in record["searches"]:
        search["ms"] = None
    return record | {"timing": None}


@contextmanager
def driver(on: str, settings: Settings, out: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The command; killed at the end where it still runs."""
    command = [sys.executable, "-m", "profilegym", "-q", "eval", "--on", on, "--out", str(out), "--in-flight", "4"]
    running = subprocess.Popen(
        [*command, *settings.arguments, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def finish(running: subprocess.Popen[str]) -> str:
    told, _ = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, told
    return told


def after(count: int, out: Path, running: subprocess.Popen[str]) -> None:
    """Waits until so many episodes are recorded."""
    file = out / "trajectories.jsonl"
    until(lambda: file.exists() and file.read_bytes().count(b"\n") >= count, running)


def until(is_so: Callable[[], bool], running: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert running.poll() is None, running.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.02)


def moments(seed: int, count: int, most: int = 80) -> list[int]:
    """Numbers of recorded episodes after which something is killed; KILLS=10 in the environment kills ten times."""
    return sorted(random.Random(seed).sample(range(1, most), int(os.environ.get("KILLS", count))))


def children(process: int, word: str = "") -> list[int]:
    """Ids of the processes that a process started, with a word in their command line."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1]) if folder.name.isdigit() else 0
            if parent == process and word in (folder / "cmdline").read_text().replace("\0", " "):
                found.append(int(folder.name))
        except (OSError, ValueError):
            continue  # it has ended
    return found


def kill(process: int) -> None:
    os.kill(process, signal.SIGKILL)


def is_gone(process: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return True


def wait_gone(processes: list[int]) -> None:
    end = time.monotonic() + PATIENCE
    while not all(map(is_gone, processes)):
        assert time.monotonic() < end, "processes are left behind"
        time.sleep(0.05)
