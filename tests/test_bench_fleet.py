"""The driver's time and memory with many workers, and workers beside the plain engine."""

import pytest

from profilegym.benchmarks.fleet import measure, simulate


@pytest.mark.alone
def test_the_driver_of_64_workers_takes_little_time_and_keeps_no_episodes() -> None:
    found = simulate(40_000)

    assert found["ms"] <= 2.0
    assert found["growth"] <= 1.05


@pytest.mark.alone
@pytest.mark.slow
def test_workers_keep_up_with_the_plain_engine() -> None:
    """Single rates scatter by a sixth: were the median far below its bound, no pair would reach it."""
    result = measure("local", rounds=(8, 3), simulated=40_000)

    assert max(result["of_plain"]) >= 0.95, result
    assert max(result["two_of_one"]) >= 1.8, result
    assert result["driver_ms"] <= 2.0
