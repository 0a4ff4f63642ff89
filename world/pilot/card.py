"""The model card of the pilot: what it is, what it learned from, what it can do, and what it cannot."""

from collections.abc import Mapping
from typing import Any

from ...evaluation.intervals import Interval, spread

_COLUMNS = ("0", "1", "2")


def card(
    about: Mapping[str, Any],
    first: Mapping[str, float],
    last: Mapping[str, float],
    summaries: Mapping[str, Mapping[str, Any]],
) -> str:
    """Facts by name, flaws of the first lessons and the last, and what `summary.json` holds of each agent's run."""
    flaws = "\n".join(f"| {name} | {share:.0%} | {last[name]:.0%} |" for name, share in first.items())
    rows = "\n".join(_row(agent, summary) for agent, summary in summaries.items())
    facts = "\n".join(f"| {name} | {value} |" for name, value in about.items())
    return _CARD.format(facts=facts, flaws=flaws, rows=rows)


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


_CARD = """---
license: apache-2.0
library_name: transformers
tags: [profilegym, toy]
---

# The pilot

The policy that comes with profilegym, for trying things out and as the start of training. It speaks the protocol of
tags, finds and quotes what a post says, and searches clumsily, so that reinforcement has something to improve. It
knows the made-up people of the data set `world` and nothing else. `make pilot` makes it anew, and writes this card.

| | |
|---|---|
{facts}

It learned from a scripted player's episodes on train users, by TRL's SFTTrainer, with a loss on the policy's own tokens
alone. The player reads well; its flaws are these (`world/pilot/demonstrations.py` says what they mean):

| flaw | share of episodes | in the last lessons |
|---|--:|--:|
{flaws}

Scores by the world's own checker at temperature 1: the mean with its 95 % interval and the number of people, then the
means by the hops of the question. Searches are those for 0 / 1 / 2 hops.

| agent | score | 0 hops | 1 hop | 2 hops | searches | structure |
|---|--:|--:|--:|--:|--:|--:|
{rows}

What it cannot do: call native tools, read other prompts than those of this package, hold a conversation. It is a toy to
measure methods with, and says nothing about how well they work for people.
"""
