"""Steps per second of `profilegym serve env`: in one process, with one worker and with two, in turn.

.venv/with-openenv/bin/python tests/beside/speed_openenv_workers.py
"""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import Any

from openenv.core import GenericEnvClient

from profilegym.envs.retrieval import make_retriever

DATA = "world:users=20/test"
SESSIONS, ROUNDS, SECONDS = 16, 5, 3.0
HELD = 0.005  # seconds that a search holds up its process, for `Holding`
SERVERS = {"one process": [], "1 worker": ["--workers", "1"], "2 workers": ["--workers", "2"]}
TURNS = ("<search>food</search>", "<search>music</search>", "<answer>I do not know.</answer>")


class Holding:
    """BM25, whose every search holds up its process, as a slow library or a disk does."""

    runs_inline = True

    def __init__(self) -> None:
        self._bm25: Any = make_retriever("bm25")

    def search(self, profile: Any, query: str, k: int) -> Any:
        time.sleep(HELD)
        return self._bm25.search(profile, query, k)

    def search_many(self, requests: Any, k: int) -> Any:
        return [self.search(profile, query, k) for profile, query in requests]


def start(stack: ExitStack, retriever: str, options: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "profilegym", "serve", "env", "--data", DATA, "--port", "0"]
    command += ["--retriever", retriever, *options]
    server = stack.enter_context(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
    stack.callback(server.terminate)
    return server


def address(server: subprocess.Popen[str]) -> str:
    assert server.stderr is not None
    return server.stderr.readline().split()[0]


async def steps(url: str) -> float:
    """Steps per second of sessions that play beside each other."""
    clients = [GenericEnvClient(base_url=url) for _ in range(SESSIONS)]
    await asyncio.gather(*(client.connect() for client in clients))
    begin = time.perf_counter()
    made = await asyncio.gather(*(play(client, begin + SECONDS) for client in clients))
    rate = sum(made) / (time.perf_counter() - begin)
    await asyncio.gather(*(client.close() for client in clients))
    return rate


async def play(client: Any, end: float) -> int:
    made = 0
    while time.perf_counter() < end:
        await client.reset(seed=made)
        for turn in TURNS:
            await client.step({"message": turn})
        made += len(TURNS)
    return made


def measure(retriever: str) -> None:
    with ExitStack() as stack:
        servers = {name: start(stack, retriever, options) for name, options in SERVERS.items()}
        urls = {name: address(server) for name, server in servers.items()}
        rounds = [{name: asyncio.run(steps(url)) for name, url in urls.items()} for _ in range(ROUNDS)]
    rates = {name: statistics.median(one[name] for one in rounds) for name in SERVERS}
    of = {name: statistics.median(one[name] / one["one process"] for one in rounds) for name in SERVERS}
    for name in SERVERS:
        print(f"  {name:12} {rates[name]:8,.0f} steps/s   {of[name]:.2f} of one process")


if __name__ == "__main__":
    print(f"{SESSIONS} sessions, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for title, retriever in (("bm25", "bm25"), (f"searches of {1e3 * HELD:g} ms", f"{__file__}:Holding")):
        print(title)
        measure(retriever)
