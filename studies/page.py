"""What the pages of results are made of: tables and verdicts in Markdown, written between marks of a page."""

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from ..evaluation.intervals import Interval, spread

UNKNOWN = "–"
MARGIN = 0.02  # of a score between 0 and 1: the loss that "no worse" allows

Verdict = Literal["supported", "contradicted", "inconclusive"]
_VERDICT = re.compile(r": \*\*(supported|contradicted|inconclusive)\*\*, ")


def fill_in(page: Path, name: str, make: Callable[[], str]) -> None:
    """Write what `make` returns between the page's marks of that name; missing marks end the program first."""
    marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not marks.search(page.read_text("utf-8")):
        sys.exit(f"{page} has no place for {name!r}: add the lines <!-- {name} --> and <!-- /{name} -->")
    content = make()
    page.write_text(marks.sub(lambda found: f"{found[1]}{content}\n{found[2]}", page.read_text("utf-8")), "utf-8")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def print_numbers(run: Callable[..., Mapping[str, Mapping[str, float]]], arguments: Sequence[str]) -> None:
    """Print the columns that `run(SPEC)` gives, for `[SPEC] [--json]`."""
    columns = run(*[argument for argument in arguments if argument != "--json"][:1])
    names = next(iter(columns.values()))
    rows = ((name, *(_number(of[name]) for of in columns.values())) for name in names)
    sys.stdout.write((json.dumps(columns, indent=2) if "--json" in arguments else table(("", *columns), rows)) + "\n")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3f}"


def figure(found: Interval, sign: str = "") -> str:
    return spread(found, sign=sign, unit="")


def change(before: Interval, after: Interval, difference: Interval) -> str:
    if before.mean is None or after.mean is None:
        return UNKNOWN
    return f"{before.mean:.2f} → {after.mean:.2f}, {figure(difference, '+')}"


def verdict(found: Interval, bound: float) -> Verdict:
    """On the claim that a figure is above the bound: is its whole interval above, below, or neither?"""
    if found.low is None or found.high is None:
        return "inconclusive"
    return "supported" if found.low > bound else "contradicted" if found.high < bound else "inconclusive"


def claim(said: str, found: Iterable[str]) -> str:
    return "\n".join([said, "", *(f"- {one}" for one in found)])


def more(where: str, found: Interval, bound: float = 0.0) -> str:
    """The verdict on the claim that the figure is above the bound."""
    return _told(f"{where}, more than {bound:g}", found, bound, sign="" if bound else "+")


def no_worse(where: str, found: Interval, margin: float = MARGIN) -> str:
    """The verdict on the claim that the difference is above -margin."""
    return _told(f"{where}, no worse by more than {margin:g}", found, -margin, sign="+")


def _told(claimed: str, found: Interval, bound: float, sign: str) -> str:
    if found.mean is None:
        return f"{claimed}: not known"
    return f"{claimed}: **{verdict(found, bound)}**, {figure(found, sign)}"


def count(page: str) -> str:
    """How many verdicts a page holds, and how many are to be expected by chance."""
    found = Counter(_VERDICT.findall(page))
    told = ", ".join(f"{found[name]} {name}" for name in ("supported", "contradicted", "inconclusive"))
    return (
        f"{found.total()} verdicts: {told}. No correction for multiplicity is made: were every figure exactly at its "
        f"bound, about {0.05 * found.total():.0f} of them would be decided by chance alone. They are not independent, "
        "as many share runs."
    )
