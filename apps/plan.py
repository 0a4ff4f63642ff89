"""`profilegym plan`: prints time, cost and the first bottleneck of an evaluation before it is run."""

from collections.abc import Sequence
from dataclasses import asdict, replace

from rich import box
from rich.console import Console
from rich.table import Table

from .._util.counted import counted
from ..fleet.estimate import Estimate, Fleet, estimate

_UNITS = (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0), ("s", 1.0))


def plan(fleet: Fleet, users: Sequence[int], as_json: bool) -> None:
    """One column for each number of users."""
    found = {count: estimate(replace(fleet, users=count)) for count in users}
    console = Console()
    if as_json:
        console.print_json(data={str(count): asdict(one) for count, one in found.items()})
    else:
        console.print(_table(found))


def duration(seconds: float) -> str:
    unit, size = next((unit for unit in _UNITS if seconds >= unit[1]), _UNITS[-1])
    return f"{_number(seconds / size)} {unit}"


def _number(value: float) -> str:
    """In three digits or more."""
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def _table(found: dict[int, Estimate]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, caption="the longest part is the first bottleneck", caption_justify="left")
    table.add_column("")
    for count in found:
        table.add_column(counted(count, "user"), justify="right")
    rows = {
        "episodes": [f"{one.episodes:,.0f}" for one in found.values()],
        "time": [duration(one.seconds) for one in found.values()],
        "first bottleneck": [one.bottleneck for one in found.values()],
        "cost": [_number(one.cost) for one in found.values()],
        "cost of the judge": [_number(one.judge_cost) for one in found.values()],
    }
    for name in next(iter(found.values())).parts:
        rows[f"  {name}"] = [duration(one.parts[name]) for one in found.values()]
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table
