"""Steps per second of `profilegym serve env`: in one process, with one worker and with two, in turn.

.venv/with-openenv/bin/python tests/beside/speed_openenv_workers.py
"""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from openenv.core import GenericEnvClient

from profilegym.envs.retrieval import make_retriever

DATA = "world:users=20/test"
SESSIONS, ROUNDS, SECONDS = 16, 5, 3.0
HELD = 0.005  # seconds that a slow search holds up its process
SERVERS = {"one process": [], "1 worker": ["--workers", "1"], "2 workers": ["--workers", "2"]}
ANSWER = "<answer>I do not know.</answer>"
QUICK = ("<search>food</search>", "<search>music</search>", ANSWER)
SLOW = ("<search>slow food</search>", "<search>slow music</search>", ANSWER)


class Holding:
    """BM25, whose slow searches hold up their process, as a slow library or a disk does."""

    runs_inline = True

    def __init__(self) -> None:
        self._bm25: Any = make_retriever("bm25")

    def search(self, profile: Any, query: str, k: int) -> Any:
        if query.startswith("slow"):
            time.sleep(HELD)
        return self._bm25.search(profile, query, k)

    def search_many(self, requests: Any, k: int) -> Any:
        return [self.search(profile, query, k) for profile, query in requests]


def start(stack: ExitStack, options: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "profilegym", "serve", "env", "--data", DATA, "--port", "0"]
    command += ["--retriever", f"{Path(__file__).resolve()}:Holding", *options]
    server = stack.enter_context(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
    stack.callback(server.terminate)
    return server


def address(server: subprocess.Popen[str]) -> str:
    assert server.stderr is not None
    return server.stderr.readline().split()[0]


async def steps(url: str, turns: Sequence[str]) -> float:
    """Steps per second of sessions that play beside each other."""
    clients = [GenericEnvClient(base_url=url) for _ in range(SESSIONS)]
    await asyncio.gather(*(client.connect() for client in clients))
    begin = time.perf_counter()
    made = await asyncio.gather(*(play(client, turns, begin + SECONDS) for client in clients))
    rate = sum(made) / (time.perf_counter() - begin)
    await asyncio.gather(*(client.close() for client in clients))
    return rate


async def play(client: Any, turns: Sequence[str], end: float) -> int:
    made = 0
    while time.perf_counter() < end:
        await client.reset(seed=made)
        for turn in turns:
            await client.step({"message": turn})
        made += len(turns)
    return made


def measure(urls: Mapping[str, str], turns: Sequence[str]) -> None:
    rounds = [{name: asyncio.run(steps(url, turns)) for name, url in urls.items()} for _ in range(ROUNDS)]
    for name in urls:
        rate = statistics.median(one[name] for one in rounds)
        ratio = statistics.median(one[name] / one["one process"] for one in rounds)
        print(f"  {name:12} {rate:8,.0f} steps/s   {ratio:.2f} of one process")


if __name__ == "__main__":
    with ExitStack() as stack:
        servers = {name: start(stack, options) for name, options in SERVERS.items()}
        urls = {name: address(server) for name, server in servers.items()}
        print(f"{SESSIONS} sessions, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        for title, turns in (("bm25", QUICK), (f"searches that hold a process for {1e3 * HELD:g} ms", SLOW)):
            print(title)
            measure(urls, turns)
