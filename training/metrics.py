"""`metrics.jsonl`: one line a step, append-only. A resumed run may repeat a step; the last line counts."""

import json
from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from .._util.jsonl import LineWriter

METRICS = "metrics.jsonl"
StepCallback = Callable[[int, Mapping[str, Any]], None]  # called with each step's number and metrics


class MetricsWriter(LineWriter):
    """Appends the metrics of one step."""

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        known = {name: value for name, value in values.items() if _is_plain(value)}
        self.append(json.dumps({"step": step} | known, allow_nan=False))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Metrics by step; an incomplete last line is skipped."""
    found: dict[int, dict[str, Any]] = {}
    if path.exists():
        for line in path.read_bytes().splitlines():
            try:
                record = json.loads(line)
                step = record["step"]
                if type(step) is int:
                    found[step] = found.get(step, {}) | record
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
    return [found[step] for step in sorted(found)]


def _is_plain(value: Any) -> bool:
    if isinstance(value, float):
        return isfinite(value)
    return isinstance(value, int | str | list | dict)
