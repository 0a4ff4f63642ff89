"""The judge benchmark measures what it says, and its targets can fail."""

import asyncio
import json

import pytest

from profilegym.benchmarks import judge
from profilegym.benchmarks.judge import targets
from profilegym.benchmarks.judge_clients import CLIENTS, Unreadable
from profilegym.testing import Fault, JudgeServer


@pytest.mark.parametrize("name", ["profilegym", "openai on aiohttp, bare", "openai, tenacity"])
def test_every_client_reads_the_same_verdict(name: str) -> None:
    async def judged(url: str) -> int:
        async with CLIENTS[name](url, 2) as judge:
            return await judge()

    with JudgeServer({"match": 1}) as server:
        assert asyncio.run(judged(server.url)) == 1

    assert server.requests == 1
    assert {server.seen[0][key] for key in ("temperature", "top_p", "max_tokens")} == {0, 1, 256}


def test_the_bare_client_does_not_ask_again() -> None:
    async def judged(url: str) -> int:
        async with CLIENTS["openai on aiohttp, bare"](url, 2) as judge:
            return await judge()

    with JudgeServer(script=[Fault.MALFORMED]) as server, pytest.raises(Unreadable):
        asyncio.run(judged(server.url))


def broken(lost: int = 0, doubled: int = 0, **changes: float) -> set[str]:
    """The targets that fail when these steady figures are changed."""
    ours = {16: 95.0, 64: 130.0, 256: 200.0, 1024: 160.0} | {int(n[2:]): value for n, value in changes.items()}
    rates = {
        "profilegym": {n: [rate] for n, rate in ours.items()},
        "openai on aiohttp, bare": {key: [100.0] for key in (16, 64, 256)},
        "openai, tenacity": {key: [100.0] for key in (16, 64, 256)},
    }
    made = targets(rates, {"asked": 100, "lost": lost, "doubled": doubled, "requests": 110})
    return {target.name for target in made if not target.holds}


def test_a_claim_holds_at_its_bound_and_not_below_it() -> None:
    assert broken() == set()
    assert broken(at16=94.9) == {"over openai on aiohttp, bare, at 16"}
    assert broken(at64=129.9) == {"over openai, tenacity at 64"}
    assert broken(at256=199.9) == {"over openai, tenacity at 256"}
    assert broken(at1024=159.9) == {"at 1,024 over at 256"}
    assert broken(lost=1) == broken(doubled=1) == {"judged once among faults"}


def test_the_report_is_one_json_object(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    small = {"LATENCY": 0.0, "ROUNDS": 1, "WAVES": 1, "MOST": 8, "MOST_OF_VERIFIERS": 2, "MANY": 320, "FAULTY": 20}
    for name, value in small.items():
        monkeypatch.setattr(judge, name, value)

    judge.main(as_json=True)

    report = json.loads(capsys.readouterr().out)
    assert set(report) == {"judgements_a_second", "absent", "among_faults", "claims"}
    assert all(set(target) == {"name", "value", "at_least", "holds"} for target in report["claims"])
    assert set(report["judgements_a_second"]["profilegym"]) == {"16", "64", "256", "320"}
    assert (report["among_faults"]["lost"], report["among_faults"]["doubled"]) == (0, 0)
