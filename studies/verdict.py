"""Claims, each supported, contradicted or inconclusive by an interval and a margin that is told with it."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Literal

from ..evaluation.intervals import Interval
from .tables import figure

MARGIN = 0.02  # of a score between 0 and 1: what "no worse" may lose

Verdict = Literal["supported", "contradicted", "inconclusive"]
_VERDICT = re.compile(r": \*\*(supported|contradicted|inconclusive)\*\*, ")


def verdict(found: Interval, bound: float) -> Verdict:
    """Claimed is more than the bound: all of the interval is above it, all of it is below, or neither."""
    if found.low is None or found.high is None:
        return "inconclusive"
    return "supported" if found.low > bound else "contradicted" if found.high < bound else "inconclusive"


def claim(said: str, found: Iterable[str]) -> str:
    return "\n".join([said, "", *(f"- {one}" for one in found)])


def more(where: str, found: Interval, bound: float = 0.0) -> str:
    """Claimed is more than the bound."""
    return _told(f"{where}, more than {bound:g}", found, bound, sign="" if bound else "+")


def no_worse(where: str, found: Interval, margin: float = MARGIN) -> str:
    """Claimed is that no more than the margin was lost."""
    return _told(f"{where}, no worse by more than {margin:g}", found, -margin, sign="+")


def _told(claimed: str, found: Interval, bound: float, sign: str) -> str:
    if found.mean is None:
        return f"{claimed}: not known"
    return f"{claimed}: **{verdict(found, bound)}**, {figure(found, sign)}"


def count(page: str) -> str:
    """How many verdicts a page holds, and how many of them may be wrong."""
    found = Counter(_VERDICT.findall(page))
    told = ", ".join(f"{found[name]} {name}" for name in ("supported", "contradicted", "inconclusive"))
    return (
        f"{found.total()} verdicts: {told}. No correction for multiplicity is made: were every figure exactly at its "
        f"bound, about {0.05 * found.total():.0f} of them would be decided by chance alone. They are not independent, "
        "as many share runs."
    )
