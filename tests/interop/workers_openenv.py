"""`profilegym serve env --workers 2`, asked by OpenEnv's own client: where sessions are, and what becomes of them."""

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx
from noting_openenv import FOLDER, SLOW
from openenv.core import GenericEnvClient
from scripted import ASKED, DATA, RIGHT

from profilegym.evaluation.run import RunDirectory

NOTING = Path(__file__).parent / "noting_openenv.py"
ANSWER = f"<answer>{RIGHT}</answer>"
notes = tempfile.TemporaryDirectory()
RUN = Path(notes.name) / "run"
command = [
    *(sys.executable, "-m", "profilegym", "serve", "env", "--data", DATA, "--workers", "2", "--sessions", "4"),
    *("--port", "0", "--retriever", f"{NOTING}:Retriever", "--judge", f"{NOTING}:Judge"),
    *("--out", str(RUN)),
]
server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, FOLDER: notes.name})
atexit.register(server.kill)
assert server.stderr is not None
URL = server.stderr.readline().split()[0]
assert URL.startswith("http://127.0.0.1:"), URL


class Played:
    """A session of the client."""

    def __init__(self) -> None:
        self.client = GenericEnvClient(base_url=URL)
        self.client.__enter__()
        self.client.reset(question_id=ASKED)

    def say(self, message: str) -> Any:
        return self.client.step({"message": message})

    def search(self, query: str = "food") -> int:
        """The process that searched."""
        before = len(searched())
        self.say(f"<search>{query}</search>")
        return searched()[before]

    def leave(self) -> None:
        self.client.__exit__(None, None, None)


def noted(file: str) -> list[str]:
    path = Path(notes.name) / file
    return path.read_text().splitlines() if path.exists() else []


def searched() -> list[int]:
    return [int(line) for line in noted("searches")]


def refused(act: Any) -> str:
    try:
        act()
    except RuntimeError as error:
        return str(error)
    raise AssertionError("no error")


def alive(process: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


# Sessions are spread, and one too many is refused until a client has left.
sessions = [Played() for _ in range(4)]
places = [session.search() for session in sessions]
first, second = sorted(set(places))
assert [places.count(first), places.count(second)] == [2, 2], places
assert httpx.get(f"{URL}/health").json() == {"status": "healthy"}
assert ASKED in httpx.post(f"{URL}/profilegym/task", json={"split": "test", "index": 0}).text
assert "CAPACITY_REACHED" in refused(Played)
sessions[3].leave()
sessions[3] = Played()
assert sessions[3].search() == places[3]

# A search that holds up its worker does not hold up the other.
beside = places.index(next(place for place in places if place != places[0]))
slow = threading.Thread(target=sessions[0].search, args=(SLOW,))
slow.start()
while len(searched()) < 6:
    time.sleep(0.01)
assert sessions[beside].search() == places[beside]
assert slow.is_alive()
slow.join()

# All share one judge, which is asked for one answer at a time.
outcomes: list[Any] = []
threads = [threading.Thread(target=lambda one=one: outcomes.append(one.say(ANSWER))) for one in sessions]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert [(outcome.done, outcome.reward) for outcome in outcomes] == [(True, 1.0)] * 4, outcomes
assert noted("verdicts") == [f"begin {server.pid}", f"end {server.pid}"] * 4, noted("verdicts")

# A killed worker ends its sessions with an error, never with a reward. The others go on, and new ones begin at once.
for session in sessions:
    session.client.reset(question_id=ASKED)
os.kill(places[0], signal.SIGKILL)
on_dead, on_other = [[one for one, at in zip(sessions, places, strict=True) if (at == places[0]) is dead]
                     for dead in (True, False)]  # fmt: skip
for session in on_dead:
    told = refused(lambda one=session: one.say(ANSWER))
    assert "SESSION_ERROR" in told or "reset first" in told, told
for session in on_other:
    assert session.say(ANSWER).reward == 1.0
for session in on_dead:
    session.leave()
new = Played()
assert new.say(ANSWER).reward == 1.0
deadline = time.monotonic() + 120
while (latest := Played()).search() in places:  # until the worker is replaced
    latest.leave()
    assert time.monotonic() < deadline
    time.sleep(0.2)

# The server ends, and no process of it is left. All workers have recorded what was played on them.
rewarded = len(sessions) + len(on_other) + 1
server.send_signal(signal.SIGTERM)
assert server.wait(60) == 0, server.stderr.read()
end = time.monotonic() + 30
while any(map(alive, set(searched()))):
    assert time.monotonic() < end, "a process is left"
    time.sleep(0.05)
recorded = [record for record in RunDirectory(RUN).trajectories() if record.ended == "answered"]
assert len(recorded) == rewarded, [record.id for record in recorded]
assert {record.answer for record in recorded} == {RIGHT}
assert json.loads((RUN / "summary.json").read_text())["score"]["mean"] == 1.0
notes.cleanup()
print("sessions are spread over workers, which may die")
