"""CPU time compared with other CPU time of the same moment: seconds alone depend on the machine."""

import os
import time
from collections.abc import Callable


def best(*works: Callable[[], object], rounds: int = 5) -> list[float]:
    """The least CPU seconds that each takes, measured in turns."""
    return [min(times) for times in zip(*([_seconds(work) for work in works] for _ in range(rounds)), strict=True)]


def growth(work: Callable[[int], object], size: int) -> float:
    """How many times longer a size takes than its tenth: 10 where time is linear, 100 where it is quadratic."""
    short, long = best(lambda: work(size // 10), lambda: work(size))
    return long / short


def _seconds(work: Callable[[], object]) -> float:
    assert "PYTEST_XDIST_WORKER" not in os.environ, "mark the test with pytest.mark.alone, and run -m 'not alone'"
    start = time.process_time()
    work()
    return time.process_time() - start
