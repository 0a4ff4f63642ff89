"""Log-probabilities and entropies at the policy's own tokens alone, a chunk of logits at a time.

A model of 150,000 tokens writes a megabyte of logits at each position. Of an episode, mostly read, few positions are
the policy's; at all others the logits would be computed, kept and thrown away.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

_CHUNK = 256  # positions whose logits are held at once


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
        chunks = zip(before.split(_CHUNK), tokens.split(_CHUNK), strict=True)
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
