"""`python -m profilegym.benchmarks.view [TRAJECTORIES]`: response times of the viewer on a large run (100,000).

The run is made in a temporary directory, the server is a process of its own, and every page is requested over HTTP.
The CPU time of the server is given beside each time, as a busy machine does not change it.
"""

import asyncio
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console

from ..envs.trajectory import TrajectoryReader
from ..evaluation.evaluate import Settings, evaluate
from ..evaluation.run import RunDirectory

PLAYED = Settings(model="scripted:oracle", data="world:seed=7/test", limit=300)
LINE = 10_000  # bytes, roughly: as long as one with its tokens and their log-probabilities
TIMES = 9  # that a page is asked for


def main(count: int = 100_000) -> None:
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        run = make(Path(folder) / "run", count)
        size = (run / "trajectories.jsonl").stat().st_size
        console.print(
            f"{count:,} trajectories, {size / 1e6:,.0f} MB, {size / count:,.0f} bytes a line", highlight=False
        )
        for name, told in measured(run, count, size):
            console.print(f"  {name:<46}{told}", highlight=False)


def make(out: Path, count: int) -> Path:
    """Real episodes again and again, each with an id and a score of its own, and as long as those of a real model."""
    asyncio.run(evaluate(PLAYED, RunDirectory(out)))
    file, rng = out / "trajectories.jsonl", Random(7)
    lines = [json.loads(trajectory.to_json()) for trajectory in TrajectoryReader(file)]
    (out / "summary.json").unlink()
    with file.open("w", encoding="utf-8") as written:
        for number in range(count):
            written.write(json.dumps(_another(lines[number % len(lines)], number, rng), separators=(",", ":")) + "\n")
    return out


def measured(run: Path, count: int, size: int) -> Iterator[tuple[str, str]]:
    with served(run) as viewer:
        start = time.perf_counter(), viewer.cpu
        while viewer.indexed(run) < 1:
            viewer.get("/state")
        took, worked = time.perf_counter() - start[0], viewer.cpu - start[1]
        speed = f"{size / 1e6 / took:.0f} MB/s; {worked:.1f} s of CPU, {size / 1e6 / worked:.0f} MB/s"
        yield "index built by the running server", f"{took:.1f} s, {speed}"
        index = sum(path.stat().st_size for path in run.glob(".trajectories.index*"))
        yield "index on disk", f"{index / 1e6:.0f} MB"
        yield "memory of the server, at most", f"{viewer.memory:.0f} MB"
    with served(run) as viewer:
        yield "first page of a server that was just started", viewer.told(["/run/run/trajectories"])
        for name, path in _pages(count).items():
            yield name, viewer.told([path] * TIMES)
        rows = Random(3).sample(range(1, count + 1), 50)
        yield "a trajectory (50 of them)", viewer.told([f"/run/run/trajectories/{row}" for row in rows])
        waited = [_growth(viewer, run, number) for number in range(TIMES)]
        yield "a line that is written, until it is told", f"{1e3 * median(waited):.0f} ms"
        yield "memory of the server, at most", f"{viewer.memory:.0f} MB"


def _pages(count: int) -> dict[str, str]:
    table = "/run/run/trajectories"
    return {
        "runs": "/",
        "a run": "/run/run",
        "table by line": table,
        "table by gain": f"{table}?sort=gain",
        "table by score, downwards": f"{table}?sort=score&down=1",
        "table by gain, last page": f"{table}?sort=gain&page={count // 50}",
        "table by its alarms": f"{table}?sort=marks&down=1",
        "table of a range of gain": f"{table}?gain_from=0.1&gain_to=0.4",
        "table of 2 hops with 2 searches": f"{table}?hops=2&searches=2&sort=gain",
        "table of a frequent word": f"{table}?words=enough",
        "table of two words": f"{table}?words=stew+feathers&sort=score",
        "compared with itself": "/compare?a=run&b=run",
    }


class ServedViewer:
    """A running viewer and a client of it."""

    def __init__(self, process: "subprocess.Popen[str]", address: str) -> None:
        self._process = process
        self._host = urlsplit(address).netloc
        answer = self._ask(address.removeprefix(f"http://{self._host}"))
        self._cookie = str(answer.headers["set-cookie"]).partition(";")[0]

    def get(self, path: str) -> str:
        answer = self._ask(path)
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status}")
        return answer.read().decode()

    def told(self, paths: Sequence[str]) -> str:
        """How long these pages took, in the middle and at most, and how much work they were."""
        before, took = self.cpu, [self._seconds(path) for path in paths]
        worked = 1e3 * (self.cpu - before) / len(paths)
        return f"{1e3 * median(took):.0f} ms, at most {1e3 * max(took):.0f}; {worked:.0f} ms of CPU"

    def indexed(self, run: Path) -> float:
        """The share of the run that its pages know."""
        done = self.get("/state").rpartition(" ")[2].partition(";")[0]
        return int(done) / (run / "trajectories.jsonl").stat().st_size

    @property
    def memory(self) -> float:
        """In MB, at its most."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1e3

    @property
    def cpu(self) -> float:
        """Seconds that the server has worked."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def _seconds(self, path: str) -> float:
        start = time.perf_counter()
        self.get(path)
        return time.perf_counter() - start

    def _ask(self, path: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self._host, timeout=60)
        cookie = getattr(self, "_cookie", None)
        connection.request("GET", path, headers={"cookie": cookie} if cookie else {})
        return connection.getresponse()


@contextmanager
def served(run: Path) -> Iterator[ServedViewer]:
    command = [sys.executable, "-m", "profilegym", "view", str(run.parent), "--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 (ours)
        try:
            assert process.stdout is not None
            yield ServedViewer(process, process.stdout.readline().strip())
        finally:
            process.terminate()


def _growth(viewer: ServedViewer, run: Path, number: int) -> float:
    """How long until the server tells of a new line, which is when an open page fetches it."""
    stamp = viewer.get("/state")
    with (run / "trajectories.jsonl").open("r+", encoding="utf-8") as file:
        line = json.loads(file.readline())
        file.seek(0, 2)
        start = time.perf_counter()
        file.write(json.dumps(line | {"id": f"new:{number}"}) + "\n")
    while viewer.get("/state") == stamp:
        continue
    return time.perf_counter() - start


def _another(line: dict[str, Any], number: int, rng: Random) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(line))
    question_id, _, _ = made["id"].rpartition(":")
    made["id"] = f"{question_id}:{number}"
    made["verdict"]["score"] = made["reward"]["total"] = rng.random()
    made["advantage"] = rng.gauss(0, 1)
    if made["baseline"]:
        made["baseline"]["score"] = rng.random()
    written = [segment for segment in made["segments"] if segment["author"] == "policy"]
    missing = max(0, LINE - len(json.dumps(made)))
    for segment in written:
        tokens = missing // (26 * len(written))
        segment["tokens"] = [rng.randrange(32_000) for _ in range(tokens)]
        segment["logprobs"] = [-rng.expovariate(2) for _ in range(tokens)]
    return made


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
