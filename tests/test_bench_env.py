"""The environment benchmark plays the same episode everywhere, and its targets can fail."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import pytest

from profilegym.benchmarks import env, env_systems
from profilegym.benchmarks.env import ready, targets
from profilegym.benchmarks.env_systems import SYSTEMS, Batch

OURS = {"profilegym Episode", "profilegym environment", "profilegym vector"}
INSTALLED = [*ready(1)[0], *(["verifiers"] if find_spec("verifiers") else [])]


@contextmanager
def two_episodes(name: str) -> Iterator[Batch]:
    if name == "verifiers":
        from profilegym.benchmarks.env_verifiers import running

        with running(2) as batch:
            yield batch
    else:
        yield SYSTEMS[name](2)


@pytest.mark.parametrize("name", INSTALLED)
def test_an_episode_ends_with_the_reward_that_its_answer_deserves(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with two_episodes(name) as batch:
        batch()

    monkeypatch.setattr(env_systems, "GOLD", "red")
    with two_episodes(name) as batch, pytest.raises((AssertionError, RuntimeError)):
        batch()


def test_who_is_absent_is_named_with_the_reason() -> None:
    batches, absent = ready(1)

    assert set(batches) >= OURS
    assert set(batches) | set(absent) == set(SYSTEMS)
    assert all(why.startswith("not installed (") for why in absent.values())


def test_a_peer_that_fails_is_named_with_the_reason(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> dict[int, float]:
        raise OSError("no port is free")

    monkeypatch.setattr(env, "of_verifiers", fail)
    monkeypatch.setattr(env, "SIZES", (1,))
    rates, absent = env.steps_a_second()

    assert absent["verifiers"] == "does not run here (OSError: no port is free)"
    assert "verifiers" not in rates
    assert set(rates) >= OURS


def broken(**changes: float) -> set[str]:
    """The targets that fail when these steady figures are changed."""
    steady = {
        "episodes": 220_000.0,
        "few": 220_000.0,
        "four": 85_000.0,
        "vector": 200_000.0,
        "gem": 220_000.0,
        "verifiers": 4_400.0,
    }
    figures = steady | {"share": 0.7} | changes
    rates = {
        "profilegym Episode": {1: figures["few"], 64: figures["episodes"], 1024: figures["episodes"]},
        "profilegym Episode, one tool": dict.fromkeys((1, 64, 1024), 100_000.0),
        "profilegym Episode, four tools": dict.fromkeys((1, 64, 1024), figures["four"]),
        "profilegym vector": dict.fromkeys((1, 64, 1024), figures["vector"]),
        "gem": dict.fromkeys((1, 64, 1024), figures["gem"]),
        "gem vector": dict.fromkeys((1, 64, 1024), 200000.0),
        "verifiers": dict.fromkeys((1, 64), figures["verifiers"]),
    }
    return {target.name for target in targets(rates, {"share": figures["share"]}) if not target.holds}


def test_a_claim_holds_at_its_bound_and_not_below_it() -> None:
    assert broken() == set()
    assert broken(few=219_999.0) == {"episode steps/s at 1"}
    assert broken(few=275_001.0) == {"episodes at 1,024 over at 1"}
    assert broken(gem=220_001.0) == {"over gem at 64", "over gem at 1024"}
    assert broken(verifiers=4_401.0) == {"over verifiers at 64"}
    assert broken(four=84_999.0) == {"four tools over one at 64", "four tools over one at 1024"}
    assert broken(share=0.699) == {"search steps with bm25 over bare searches"}
    assert broken(vector=199_999.0) == {
        "vector steps/s at 64",
        "vector steps/s at 1024",
        "over gem vector at 64",
        "over gem vector at 1024",
    }


def test_nothing_is_claimed_over_a_peer_that_is_absent() -> None:
    ours = dict.fromkeys((1, 64, 1024), 1.0)

    systems = (
        "profilegym Episode",
        "profilegym Episode, one tool",
        "profilegym Episode, four tools",
        "profilegym vector",
    )
    names = [target.name for target in targets(dict.fromkeys(systems, ours), {"share": 1.0})]

    assert len(names) == 9
    assert not any(peer in name for name in names for peer in ("gem", "skyrl", "verifiers"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each figure from a moment, and verifiers' from a script."""
    monkeypatch.setattr(env, "SECONDS", 0.001)
    monkeypatch.setattr(env, "ROUNDS", 1)
    monkeypatch.setattr(env, "of_verifiers", lambda: {1: 300.0, 64: 200.0})


def test_the_report_is_one_json_object(quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    env.main(as_json=True)

    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    rates = report["steps_a_second"]
    assert set(report) == {"steps_a_second", "absent", "bm25", "claims"}
    assert all(set(rates[name]) == {"1", "64", "1024"} and min(rates[name].values()) > 0 for name in OURS)
    assert rates["verifiers"] == {"1": 300.0, "64": 200.0}
    assert set(report["bm25"]) == {"searches_a_second", "search_steps_a_second", "share"}
    assert all(set(target) == {"name", "value", "at_least", "holds"} for target in report["claims"])


def test_the_table_marks_what_was_not_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = {name: dict.fromkeys(env.SIZES, 1000.0) for name in SYSTEMS} | {"verifiers": {1: 300.0, 64: 200.0}}
    monkeypatch.setattr(env, "steps_a_second", lambda: (rates, {"gem": "not installed"}))
    monkeypatch.setattr(
        env, "with_bm25", lambda: dict.fromkeys(("searches_a_second", "search_steps_a_second", "share"), 1.0)
    )

    env.main(as_json=False)

    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│ verifiers")]
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["verifiers", "300 (0.30)", "200 (0.20)", "–"]
