"""Runs a server of the benchmarks in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class Server:
    """Prints its address when it starts, and its counts for every line it reads."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.url = self._line()

    def counts(self, order: str = "") -> dict[str, int]:
        """Its counts, after an order if one is given."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()
        counts: dict[str, int] = json.loads(self._line())
        return counts

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextmanager
def serving(module: str, *arguments: object) -> Iterator[Server]:
    """Start a module of the benchmarks; leaving the block closes its input, which ends it."""
    command = [sys.executable, "-m", f"profilegym.benchmarks.{module}", *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:  # noqa: S603
        yield Server(process)
