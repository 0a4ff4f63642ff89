"""`profilegym plan`: what an evaluation will take."""

import asyncio
import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matching import naming
from typer.testing import CliRunner

from profilegym.apps.cli import app
from profilegym.benchmarks.rollout_server import play
from profilegym.errors import OptionError
from profilegym.evaluation.evaluate import Settings, Speed, evaluate
from profilegym.evaluation.run import RunDirectory
from profilegym.fleet.estimate import Fleet, estimate
from profilegym.testing import PolicyServer

NOTHING_TO_DO = Fleet(
    1000, latency=0, tokens_per_second=1e12, judge_calls=0, turn_processor=0, judge_processor=0, driver_processor=0
)


@pytest.mark.parametrize(
    ("changes", "bottleneck", "seconds"),
    [
        ({"tokens_per_second": 120}, "endpoints", 3000 * 4),
        ({"latency": 2.56}, "episodes in flight", 3000 * 4 / 100),
        ({"turn_processor": 0.01, "workers": 4}, "workers' processors", 3000 * 4 / 400),
        ({"judge_calls": 2, "judge_latency": 0.64}, "judge's concurrency", 6000 * 2 / 100),
        ({"judge_calls": 2, "judge_latency": 0, "judge_processor": 0.01}, "judge's processor", 6000 * 2 / 100),
        ({"driver_processor": 0.01}, "driver's processor", 60),
    ],
)
def test_the_slowest_part_is_the_time(changes: dict[str, Any], bottleneck: str, seconds: float) -> None:
    found = estimate(replace(NOTHING_TO_DO, **changes))

    assert found.bottleneck == bottleneck
    assert found.seconds == pytest.approx(seconds)


def test_the_cost_is_that_of_all_tokens() -> None:
    found = estimate(Fleet(1000, 1, baseline=False, price_in=1, price_out=10, judge_price_in=2, judge_price_out=4))

    assert found.cost == pytest.approx(3000 * (1500 + 1200) / 1e6)
    assert found.judge_cost == pytest.approx(3000 * (1600 + 400) / 1e6)


def test_no_endpoint_is_an_error() -> None:
    with pytest.raises(OptionError, match=naming("endpoints", 0)):
        Fleet(1000, endpoints=0)


def test_the_command_estimates_several_numbers_of_users() -> None:
    asked = ["plan", "--users", "1000", "--users", "1000000", "--endpoints", "64", "--json"]

    found = json.loads(CliRunner().invoke(app, asked, catch_exceptions=False).output)

    assert found["1000000"]["seconds"] == pytest.approx(1000 * found["1000"]["seconds"])
    assert "1,000,000" in CliRunner().invoke(app, asked[:-1], catch_exceptions=False).output


def test_a_cost_below_one_is_not_rounded_to_nothing() -> None:
    asked = ["plan", "--users", "50", "--price-out", "1"]

    told = CliRunner().invoke(app, asked, catch_exceptions=False).output

    assert re.search(r"cost +0\.072 ", told)


@pytest.mark.alone
@pytest.mark.slow
def test_a_run_takes_what_was_estimated(tmp_path: Path) -> None:
    """Five rounds of episodes that wait most of the time, so that a busy machine changes little."""
    at: list[float] = []
    with PolicyServer(play, latency=1.0) as server:
        model = f"openai:player,base_url={server.url},api_key=none,form=chat"
        settings = Settings(model=model, data="world:seed=7,users=60/test", limit=20)
        speed = Speed(in_flight=4)
        asyncio.run(evaluate(settings, RunDirectory(tmp_path), speed, lambda *_: at.append(time.perf_counter())))

    told = estimate(
        Fleet(20, 1, in_flight=4, latency=1.0, judge_calls=0, turns=3, tokens_per_second=1e9)
    )  # two searches and an answer
    assert told.bottleneck == "episodes in flight"
    assert at[-1] - at[0] == pytest.approx(told.seconds, rel=0.25)
