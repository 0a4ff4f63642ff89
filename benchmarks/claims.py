"""What a benchmark claims: a figure and its bound, kept or not, said alike by all of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rich.console import Console


@dataclass(frozen=True, slots=True)
class Claim:
    """The value stays at or above the bound, or at or below it."""

    name: str
    value: float
    bound: float
    side: str  # at_least, at_most

    @property
    def holds(self) -> bool:
        return self.value >= self.bound if self.side == "at_least" else self.value <= self.bound

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "value": self.value, self.side: self.bound, "holds": self.holds}


def at_least(name: str, value: float, bound: float) -> Claim:
    return Claim(name, value, bound, "at_least")


def at_most(name: str, value: float, bound: float) -> Claim:
    return Claim(name, value, bound, "at_most")


def show_claims(claims: Iterable[Claim], console: Console) -> None:
    for claim in claims:
        mark = "[green]✓[/]" if claim.holds else "[red]✗[/]"
        bound = f"{claim.side.replace('_', ' ')} {claim.bound:,}"
        console.print(f"{mark} {claim.name}: {_figure(claim.value)} ({bound})", highlight=False)


def _figure(value: float) -> str:
    """Fine enough to show on which side of its bound it is."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
