"""The driver's time and memory with many workers, and workers beside the plain engine."""

import pytest

from profilegym.benchmarks.fleet import measure, simulate, targets


@pytest.mark.alone
def test_the_driver_of_64_workers_takes_little_time_and_keeps_no_episodes() -> None:
    found = simulate(40_000)

    assert found["ms"] <= 2.0
    assert found["growth"] <= 1.05


@pytest.mark.alone
@pytest.mark.slow
def test_workers_keep_up_with_the_plain_engine() -> None:
    result = measure("local", rounds=1, simulated=40_000)

    assert [target.name for target in targets(result) if not target.holds] == [], result
