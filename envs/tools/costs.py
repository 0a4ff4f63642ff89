"""Costs of a call, by tool: `search_profile=0.01,read_around=0.02`."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from ...errors import OptionError
from .search_profile import search_profile
from .toolset import Toolset


def checked_costs(costs: str | Mapping[str, Any], tools: Toolset | None) -> dict[str, float]:
    """The costs by name; raises `OptionError` for a tool that is not offered, or a cost that is no amount."""
    pairs = costs.items() if isinstance(costs, Mapping) else (pair.split("=", 1) for pair in costs.split(","))
    offered = [search_profile.name] if tools is None else list(tools.tools)
    checked: dict[str, float] = {}
    for pair in pairs:
        name, amount = (*pair, "")[:2]
        name = name.strip()
        if name not in offered or name == "answer":
            raise OptionError(f"costs={costs!r}: {name!r} is not offered; tools are {', '.join(offered)}")
        checked[name] = _amount(costs, amount)
    return checked


def costs_text(costs: Mapping[str, float]) -> str:
    """For prompts: `search_profile 0.01, read_around 0.02`."""
    return ", ".join(f"{name} {amount:g}" for name, amount in costs.items() if amount)


def _amount(costs: object, text: Any) -> float:
    try:
        amount = float(text)
    except (TypeError, ValueError):
        amount = -1.0
    if not (isfinite(amount) and amount >= 0):
        raise OptionError(f"costs={costs!r}: {text!r} is no cost: give a number of at least 0, as in latest=0.01")
    return amount
