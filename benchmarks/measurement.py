"""What all benchmarks share: targets, output, rounds without garbage collection, and the memory of this process."""

import gc
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console


@dataclass(frozen=True, slots=True)
class Target:
    """A measured value and its lower or upper bound."""

    name: str
    value: float
    bound: float
    side: str  # at_least, at_most

    @property
    def holds(self) -> bool:
        return self.value >= self.bound if self.side == "at_least" else self.value <= self.bound

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "value": self.value, self.side: self.bound, "holds": self.holds}


def at_least(name: str, value: float, bound: float) -> Target:
    return Target(name, value, bound, "at_least")


def at_most(name: str, value: float, bound: float) -> Target:
    return Target(name, value, bound, "at_most")


def show(
    result: Mapping[str, Any],
    targets: Iterable[Target],
    as_json: bool,
    report: Callable[[Any, Console], None],
) -> None:
    """Print a benchmark's result and its targets, as JSON or as tables."""
    if as_json:
        print(json.dumps({**result, "claims": [target.as_json() for target in targets]}, indent=2))
        return
    console = Console()
    report(result, console)
    show_targets(targets, console)


def show_targets(targets: Iterable[Target], console: Console) -> None:
    for target in targets:
        mark = "[green]✓[/]" if target.holds else "[red]✗[/]"
        bound = f"{target.side.replace('_', ' ')} {target.bound:,}"
        console.print(f"{mark} {target.name}: {_figure(target.value)} ({bound})", highlight=False)


def _figure(value: float) -> str:
    """Enough digits to show on which side of its bound it is."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


@contextmanager
def no_old_garbage() -> Iterator[None]:
    """Keeps the garbage collector from objects that existed before."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def resident_bytes() -> int:
    """Memory of this process."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
