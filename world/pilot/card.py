"""The model card of the pilot."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from ...evaluation.intervals import Interval, spread

_COLUMNS = ("0", "1", "2")


def card(
    about: Mapping[str, Any],
    first: Mapping[str, float],
    last: Mapping[str, float],
    summaries: Mapping[str, Mapping[str, Any]],
) -> str:
    """The card, from facts by name, the flaw shares of the first and last lessons, and a run summary for each agent."""
    flaws = "\n".join(f"| {name} | {share:.0%} | {last[name]:.0%} |" for name, share in first.items())
    rows = "\n".join(_row(agent, summary) for agent, summary in summaries.items())
    facts = "\n".join(f"| {name} | {value} |" for name, value in about.items())
    return files(__package__).joinpath("card.md").read_text("utf-8").format(facts=facts, flaws=flaws, rows=rows)


def _row(agent: str, summary: Mapping[str, Any]) -> str:
    by_hops = [summary["by_hops"][hops] for hops in _COLUMNS]
    cells = [
        f"`{agent}`",
        spread(Interval(**summary["score"])),
        *(_figure(group["score"]) for group in by_hops),
        " / ".join(f"{group['searches']['mean']:.1f}" for group in by_hops),
        f"{summary['structure']['mean']:.3f}",
    ]
    return f"| {' | '.join(cells)} |"


def _figure(interval: Mapping[str, Any]) -> str:
    return f"{interval['mean']:.3f}"
