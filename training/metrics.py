"""`metrics.jsonl`: a line a step, only ever added to. After a resumption a step may come twice: the newest counts."""

import json
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from .._util.jsonl import LineWriter

METRICS = "metrics.jsonl"


class MetricsWriter(LineWriter):
    """Appends what one step came to."""

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        known = {name: value for name, value in values.items() if _is_plain(value)}
        self.append(json.dumps({"step": step} | known, allow_nan=False))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """By step; a line that a kill left half written is passed over."""
    found: dict[int, dict[str, Any]] = {}
    if path.exists():
        for line in path.read_bytes().splitlines():
            try:
                record = json.loads(line)
                found[record["step"]] = found.get(record["step"], {}) | record
            except (ValueError, KeyError, TypeError):
                continue
    return [found[step] for step in sorted(found)]


def _is_plain(value: Any) -> bool:
    if isinstance(value, float):
        return isfinite(value)
    return isinstance(value, int | str | list | dict)
