"""Shrinks a batch without changing its gradient: drops rows that have none, and padding."""

from collections.abc import Callable, Iterator
from typing import Any

import torch

Batch = dict[str, Any]
_PROMPT, _COMPLETION = ("prompt_ids", "prompt_mask"), ("completion_ids", "completion_mask", "tool_mask")
_SCORED = ("old_per_token_logps", "ref_per_token_logps", "sampling_per_token_logps", "importance_sampling_ratio")


def only_what_teaches(batch: Batch, chunks: int, most: Callable[[int], int]) -> Batch:
    """Drop the rows without gradient; for losses that are sums over tokens, divided by a count made before.

    The batch is later split into `chunks` equal parts. `most` returns the maximum of a row count over all processes,
    which must keep equally many rows.
    """
    teaches = (batch["advantages"] != 0) & (batch["completion_mask"] * batch["tool_mask"]).any(1)
    size = len(teaches)
    wanted = min(size, -(-most(max(1, int(teaches.sum()))) // chunks) * chunks)
    order = torch.argsort(~teaches, stable=True)[:wanted].sort().values  # rows with a gradient, then others to fill up
    rows = {name: value[order] if _is_by_row(value, size) else value for name, value in batch.items()}
    return _without_padding(rows)


def by_length(batch: Batch, parts: int) -> Iterator[Batch]:
    """Split the rows into `parts` batches by length, each padded to its own longest row."""
    size = len(batch["advantages"])
    order = torch.argsort(batch["completion_mask"].sum(1) + batch["prompt_mask"].sum(1), stable=True)
    for rows in order.chunk(parts):
        yield _without_padding({k: v[rows] if _is_by_row(v, size) else v for k, v in batch.items()})


def _is_by_row(value: Any, size: int) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim > 0 and value.shape[0] == size


def _without_padding(batch: Batch) -> Batch:
    """Prompts are padded on the left, completions on the right."""
    first = int(batch["prompt_mask"].any(0).int().argmax())
    last = int(batch["completion_mask"].sum(1).max())
    cut = {name: batch[name][:, first:] for name in _PROMPT}
    cut |= {name: batch[name][:, :last] for name in (*_COMPLETION, *_SCORED) if _is_wide(batch.get(name))}
    return batch | cut


def _is_wide(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim == 2 and value.shape[1] > 1
