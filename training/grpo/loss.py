"""Makes the loss cheaper without changing it: leaves out rows, padding and positions that have no gradient.

A model of 150,000 tokens writes a megabyte of logits at each position. Of an episode, mostly read, few positions are
the policy's; at all others the logits would be computed, kept and thrown away. So log-probabilities and entropies are
computed at the policy's own tokens alone, a chunk of logits at a time.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

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


def changes_logits(model: Any) -> bool:
    """Whether the model does more to its logits than its last layer: then they cannot be replaced there."""
    config = model.config.get_text_config()
    return any(getattr(config, name, None) for name in ("final_logit_softcapping", "logit_scale", "logits_scaling"))


@contextmanager
def _scoring_head(head: Any, wanted: Any, targets: Any, temperature: float, entropy_learns: bool) -> Iterator[None]:
    from torch.utils.checkpoint import checkpoint

    plain: Callable[[Any], Any] = head.forward
    own = vars(head).get("forward")  # where something else has replaced it already

    def of_chunk(hidden: Any, tokens: Any) -> Any:
        logits = plain(hidden).float() / temperature
        total = logits.logsumexp(-1)
        chosen = logits.gather(-1, tokens.unsqueeze(-1)).squeeze(-1) - total
        with torch.set_grad_enabled(entropy_learns and torch.is_grad_enabled()):
            entropy = total - ((logits - total.unsqueeze(-1)).exp() * logits).sum(-1)
        return torch.stack([chosen, entropy], -1)

    def forward(hidden: Any) -> Any:
        """The hidden state before a token foretells it."""
        places = wanted.flatten().nonzero().squeeze(1)
        if not len(places):  # a process without any still takes part in the backward pass
            places = places.new_zeros(1)
        before = hidden[:, :-1].flatten(0, 1)[places]
        tokens = targets.flatten()[places]
        size = max(1, min(_CHUNK, _LOGITS // head.out_features))
        chunks = zip(before.split(size), tokens.split(size), strict=True)
        found = torch.cat([checkpoint(of_chunk, *chunk, use_reentrant=False) for chunk in chunks])
        rows = found.new_zeros(wanted.numel(), 2).index_put((places,), found)
        return rows.view(*wanted.shape, 2) * wanted.unsqueeze(-1)

    head.forward = forward
    try:
        yield
    finally:
        if own is None:
            del head.forward
        else:
            head.forward = own
