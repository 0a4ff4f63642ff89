"""Whether a claim holds, told from an interval."""

from collections.abc import Iterable

from ..evaluation.intervals import Interval
from .tables import figure


def claim(said: str, found: Iterable[str]) -> str:
    return "\n".join([said, "", *(f"- {one}" for one in found)])


def more(where: str, found: Interval, bound: float = 0.0) -> str:
    """Claimed is more than the bound."""
    return _told(where, found, bound, within="does not hold here beyond chance")


def no_less(where: str, found: Interval) -> str:
    """Claimed is that nothing was lost."""
    return _told(where, found, 0.0, within="holds here, as far as can be told")


def _told(where: str, found: Interval, bound: float, within: str) -> str:
    if found.mean is None or found.low is None or found.high is None:
        return f"{where}: not known"
    told = "holds here" if found.low > bound else "does not hold here" if found.high < bound else within
    return f"{where}: **{told}**, {figure(found, '' if bound else '+')}"
