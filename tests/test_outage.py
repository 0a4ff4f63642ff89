"""What an outage, and the death of our own process, cost: time, but no judgement, and nothing that was paid for."""

import asyncio
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import make_question

from profilegym import Aspect, AspectMatch, Rubric, Verdict, make_judge
from profilegym.errors import JudgeError
from profilegym.rewards.cache import Cache
from profilegym.rewards.judge import LLMJudge
from profilegym.testing import JudgeServer

ASPECTS = ("Tea", "Cups", "Milk", "Time")
QUESTION = replace(make_question(), rubric=Rubric("", tuple(Aspect(title) for title in ASPECTS)))
ANSWERS = [f"Have {cups} cups." for cups in range(500)]
JUDGEMENTS = len(ANSWERS) * len(ASPECTS)
AT_ONCE = 64
CUPS = re.compile(r"Have (\d+) cups\.")


def by_cups(body: dict[str, Any]) -> dict[str, object]:
    """1 for an even number and 2 for an odd one: never 0, and no answer's verdict is another's."""
    found = CUPS.search(body["messages"][-1]["content"])
    assert found
    return {"reason": found[0], "match": 1 + int(found[1]) % 2}


EXPECTED = [
    Verdict("openai:judge", match / 2, tuple(AspectMatch(title, match, answer) for title in ASPECTS))
    for answer, match in zip(ANSWERS, [1, 2] * len(ANSWERS), strict=False)
]


def judged(server: JudgeServer, cache: Path, meanwhile: Callable[[], None], **options: Any) -> list[Any]:
    """The verdict of each answer, while something happens in a thread of its own."""
    address = {"base_url": server.url, "api_key": "none"}

    async def run() -> list[Any]:
        judge = make_judge("openai:judge", cache=str(cache), concurrency=AT_ONCE, **address, **options)
        assert isinstance(judge, LLMJudge)
        pairs = [(QUESTION, answer) for answer in ANSWERS]
        verdicts, _ = await asyncio.gather(judge.score_many(pairs), asyncio.to_thread(meanwhile))
        await judge.close()
        return list(verdicts)

    return asyncio.run(run())


def until(this: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not this():
        assert time.monotonic() < end
        time.sleep(0.001)


def an_outage(server: JudgeServer, seconds: float) -> Callable[[], None]:
    """When a quarter is judged, connections are reset and the port is closed; then it is there again."""

    def outage() -> None:
        until(lambda: server.answered >= JUDGEMENTS / 4)
        server.stop()
        time.sleep(seconds)
        server.start()

    return outage


@pytest.mark.slow
def test_an_endpoint_killed_and_restarted_among_2000_judgements_leaves_none_unscored(tmp_path: Path) -> None:
    with JudgeServer(by_cups, latency=0.01) as server:
        verdicts = judged(server, tmp_path / "judge.sqlite", an_outage(server, seconds=1.0))

    assert verdicts == EXPECTED
    assert JUDGEMENTS <= server.answered <= JUDGEMENTS + AT_ONCE  # what it was sending when it died is paid twice


@pytest.mark.slow
def test_what_an_outage_left_unscored_says_why_and_is_healed_by_asking_again(tmp_path: Path) -> None:
    path = tmp_path / "judge.sqlite"
    with JudgeServer(by_cups, latency=0.01) as server:
        first = judged(server, path, an_outage(server, seconds=4.0), deadline=2.0)
        until(lambda: not server.in_flight)
        paid, kept = server.answered, len(Cache(path))

        second = judged(server, path, lambda: None)

    unscored = [found for found in first if isinstance(found, JudgeError)]
    assert 0 < len(unscored) < len(ANSWERS)
    assert all("openai:judge" in str(error) for error in unscored)
    assert all(isinstance(found, JudgeError) or found == right for found, right in zip(first, EXPECTED, strict=True))
    assert second == EXPECTED
    assert kept <= paid  # a reply is lost where the server died, and where the deadline ended, after it was written
    assert server.answered == paid + JUDGEMENTS - kept  # only what is missing is asked


JUDGING = """
import asyncio, sys
sys.path.insert(0, sys.argv[3])
from profilegym import make_judge
from test_outage import ANSWERS, AT_ONCE, QUESTION
judge = make_judge("openai:judge", base_url=sys.argv[1], api_key="none", cache=sys.argv[2], concurrency=AT_ONCE)
asyncio.run(judge.score_many([(QUESTION, answer) for answer in ANSWERS]))
"""


@pytest.mark.slow
def test_a_killed_run_pays_again_only_for_what_was_in_flight(tmp_path: Path) -> None:
    path = tmp_path / "judge.sqlite"
    with JudgeServer(by_cups, latency=0.01) as server:
        command = [sys.executable, "-c", JUDGING, server.url, str(path), str(Path(__file__).parent)]
        with subprocess.Popen(command) as process:
            until(lambda: server.answered >= JUDGEMENTS / 4 or process.poll() is not None)
            process.kill()
        until(lambda: not server.in_flight)
        paid, kept = server.answered, len(Cache(path))

        verdicts = judged(server, path, lambda: None)

    assert process.returncode == -signal.SIGKILL
    assert paid - AT_ONCE <= kept <= paid < JUDGEMENTS
    assert verdicts == EXPECTED
    assert server.answered == paid + JUDGEMENTS - kept
