"""How an open page learns that there is something new to show."""

from typing import Any
from urllib.parse import quote

from .library import Run


def following(run: Run) -> dict[str, Any]:
    """Where a page of this run asks for news, and what it knows: taken before it is made, so that nothing is missed."""
    return {"follow": f"/state?run={quote(run.key, safe='')}", "stamp": stamp_of(run)}


def stamp_of(*runs: Run, seconds: float = 0.0) -> str:
    """Another one as soon as a page of these runs has something new to show."""
    return "".join(f"{run.key} {run.stamp} {run.indexed(seconds)};" for run in runs)
