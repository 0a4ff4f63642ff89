"""Tables and figures as Markdown."""

from collections.abc import Sequence

from ..evaluation.intervals import Interval, spread

UNKNOWN = "–"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figure(found: Interval, sign: str = "") -> str:
    return spread(found, sign=sign, unit="")


def change(before: Interval, after: Interval, difference: Interval) -> str:
    if before.mean is None or after.mean is None:
        return UNKNOWN
    return f"{before.mean:.2f} → {after.mean:.2f}, {figure(difference, '+')}"
