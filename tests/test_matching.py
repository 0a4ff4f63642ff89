"""What the other tests rest on: whether a message names a value, and whether work grows faster than its input."""

import pytest
from matching import names
from timing import growth


@pytest.mark.parametrize(
    "values",
    [["limit", 12, 6], [6, "limit"], ["limit=12"], ["/tmp/run-6/out"], ["'--out'"], ["[a]"], [-1], [0.5]],
)
def test_a_message_names_its_values_in_any_order(values: list[object]) -> None:
    assert names("/tmp/run-6/out\nlimit=12 there, 6 now; give '--out', [a], seed=-1 or 0.5.", *values)


@pytest.mark.parametrize("values", [["limit", 7], [1], [2], ["lim"], ["ru"], [5], [0], ["limit", "now"]])
def test_a_part_of_a_value_is_not_that_value(values: list[object]) -> None:
    assert not names("/tmp/run-6/5/out: limit=12 there, 60 instead of 0.5", *values)


@pytest.mark.alone
def test_linear_work_grows_tenfold_and_quadratic_work_far_more() -> None:
    def count(steps: int) -> None:
        for _ in range(steps):
            pass

    assert growth(count, 200_000) < 33 < growth(lambda size: count(size * size), 2000)
