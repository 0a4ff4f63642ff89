"""Makes the loss cheaper without changing it: leaves out rows, padding and positions that have no gradient.

What all rows begin with, which is mostly the instructions, is read once where one process learns alone.

A model of 150,000 tokens writes a megabyte of logits at each position. Of an episode, mostly read, few positions are
the policy's; at all others the logits would be computed, kept and thrown away. So log-probabilities and entropies are
computed at the policy's own tokens alone, a chunk of logits at a time.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ..reading import plain_of, read_once

Batch = dict[str, Any]
_PROMPT, _COMPLETION = ("prompt_ids", "prompt_mask"), ("completion_ids", "completion_mask", "tool_mask")
_SCORED = (
    *("advantages", "old_per_token_logps", "ref_per_token_logps", "sampling_per_token_logps"),
    "importance_sampling_ratio",
)
_CHUNK = 256  # positions whose logits are held at once, at most
_LOGITS = 2**24  # held at once: so fewer positions of a large vocabulary


def only_what_teaches(batch: Batch, chunks: int, most: Callable[[int], int]) -> Batch:
    """Drop the rows without gradient; for losses that are sums over tokens, divided by a count made before.

    The batch is later split into `chunks` equal parts. `most` returns the maximum of a row count over all processes,
    which must keep equally many rows.
    """
    learned = batch["completion_mask"] * batch["tool_mask"]
    advantages = batch["advantages"]
    teaches = ((advantages if advantages.ndim == 2 else advantages[:, None]) * learned).any(1)
    size = len(teaches)
    wanted = min(size, -(-most(max(1, int(teaches.sum()))) // chunks) * chunks)
    order = torch.argsort(~teaches, stable=True)[:wanted].sort().values  # rows with a gradient, then others to fill up
    rows = {name: value[order] if _is_by_row(value, size) else value for name, value in batch.items()}
    return _without_padding(rows)


def by_length(batch: Batch, most_tokens: int, most: Callable[[int], int] = int) -> Iterator[Batch]:
    """Split the rows by length into batches of at most `most_tokens`, padded to their own longest row; longest first.

    A longer row is a batch of its own. `most` gives the maximum over all processes, which take equally many passes.
    """
    size = len(batch["advantages"])
    lengths = batch["completion_mask"].sum(1) + batch["prompt_mask"].sum(1)
    order = torch.argsort(lengths, stable=True, descending=True)
    for rows in _in_parts(order, lengths[order].tolist(), most_tokens, most):
        yield _without_padding({k: v[rows] if _is_by_row(v, size) else v for k, v in batch.items()})


def _in_parts(order: Any, lengths: list[int], most_tokens: int, most: Callable[[int], int]) -> list[Any]:
    parts, start = [], 0
    while start < len(lengths):
        end = start + max(1, most_tokens // lengths[start])
        parts.append(order[start:end])
        start = end
    for _ in range(most(len(parts)) - len(parts)):  # all processes have equally many rows, so one can be halved
        largest = max(range(len(parts)), key=lambda i: len(parts[i]))
        parts[largest : largest + 1] = parts[largest].chunk(2)
    return parts


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


def scores(
    model: Any, input_ids: Any, attention_mask: Any, wanted: Any, temperature: float, entropy_learns: bool
) -> tuple[Any, Any]:
    """Of the last `wanted.shape[1]` tokens: log-probabilities and entropies [rows, tokens], 0 where not `wanted`.

    Both are computed in place of the model's last layer, inside its own forward pass, so that whatever wraps the model
    sees an ordinary one.
    """
    kept = wanted.shape[1]
    targets = input_ids[:, -kept:]
    with _scoring_head(head_of(model), wanted.bool(), targets, temperature, entropy_learns):
        found = model(
            input_ids=input_ids, attention_mask=attention_mask, logits_to_keep=kept + 1, use_cache=False
        ).logits
    return found[..., 0], found[..., 1]


def head_of(model: Any) -> Any:
    """The layer that makes logits, of a model that may be wrapped."""
    while not hasattr(model, "get_output_embeddings"):
        model = model.module
    return model.get_output_embeddings()


@contextmanager
def _scoring_head(head: Any, wanted: Any, targets: Any, temperature: float, entropy_learns: bool) -> Iterator[None]:
    plain: Callable[[Any], Any] = head.forward
    own = vars(head).get("forward")  # where something else has replaced it already

    def forward(hidden: Any) -> Any:
        """The hidden state before a token foretells it."""
        row, place = _places(wanted)
        found = _scored(plain, head, hidden[row, place], targets[row, place], temperature, entropy_learns)
        return _in_place(found, wanted, row, place)

    head.forward = forward
    try:
        yield
    finally:
        if own is None:
            del head.forward
        else:
            head.forward = own


def scores_read_once(
    model: Any, input_ids: Any, attention_mask: Any, wanted: Any, temperature: float, entropy_learns: bool
) -> tuple[Any, Any]:
    """As `scores`, for a model that nothing wraps. What all rows begin with, such as instructions, is read once."""
    plain = plain_of(model)
    head, length = plain.get_output_embeddings(), input_ids.shape[1]
    padding = attention_mask.int().argmax(1)  # before each row, which is moved to the left by it
    columns = torch.arange(int(attention_mask.sum(1).max()), device=input_ids.device) + padding[:, None]
    states = read_once(plain.base_model, input_ids.gather(1, columns.clamp(max=length - 1)))
    row, place = _places(wanted)
    column = place + length - wanted.shape[1]
    before = states[row, column - padding[row] - 1]
    found = _scored(head.forward, head, before, input_ids[row, column], temperature, entropy_learns)
    rows = _in_place(found, wanted, row, place)
    return rows[..., 0], rows[..., 1]


def _places(wanted: Any) -> tuple[Any, Any]:
    """Rows and columns of the wanted tokens. A process without any still takes part in the backward pass."""
    row, place = wanted.nonzero(as_tuple=True)
    return (row, place) if len(row) else (row.new_zeros(1), place.new_zeros(1))


def _scored(
    logits_of: Callable[[Any], Any], head: Any, before: Any, tokens: Any, temperature: float, entropy_learns: bool
) -> Any:
    """Log-probability and entropy of each token, by the hidden state before it."""
    from torch.utils.checkpoint import checkpoint

    def of_chunk(hidden: Any, chosen: Any) -> Any:
        logits = logits_of(hidden).float() / temperature
        total = logits.logsumexp(-1)
        logprob = logits.gather(-1, chosen.unsqueeze(-1)).squeeze(-1) - total
        with torch.set_grad_enabled(entropy_learns and torch.is_grad_enabled()):
            entropy = total - ((logits - total.unsqueeze(-1)).exp() * logits).sum(-1)
        return torch.stack([logprob, entropy], -1)

    size = max(1, min(_CHUNK, _LOGITS // head.out_features))
    chunks = zip(before.split(size), tokens.split(size), strict=True)
    return torch.cat([checkpoint(of_chunk, *chunk, use_reentrant=False) for chunk in chunks])


def _in_place(found: Any, wanted: Any, row: Any, place: Any) -> Any:
    return found.new_zeros(*wanted.shape, 2).index_put((row, place), found) * wanted.unsqueeze(-1)
