"""Reads rows of tokens for their last hidden states; what all rows begin with, such as instructions, is read once."""

from typing import Any

_CHANGES = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")  # of logits, in a config
_WORTH = 32  # tokens that all rows begin with, for them to be read by themselves


def plain_of(model: Any) -> Any:
    """The model without the class of its adapters, which stay inside."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def changes_logits(model: Any) -> bool:
    """Whether the model does more to its logits than its last layer: then that layer alone does not make them."""
    config = model.config.get_text_config()
    return any(getattr(config, name, None) for name in _CHANGES)


def read_whole(model: Any, rows: Any) -> Any:
    """The last hidden states of rows of tokens, which may be padded behind. `model` has no head."""
    return model(rows, use_cache=False).last_hidden_state


def read_once(model: Any, rows: Any) -> Any:
    """The same. What all rows begin with is read once; activations are not checkpointed."""
    import torch
    from transformers.cache_utils import DynamicLayer

    same = (rows == rows[:1]).all(0).int().cumprod(0).sum().item()
    shared = min(same, rows.shape[1] - 1)
    if len(rows) == 1 or shared < _WORTH:
        return read_whole(model, rows)
    start = model(rows[:1, :shared], use_cache=True)
    cache = getattr(start, "past_key_values", None)
    # Other kinds of cache forget tokens, or overwrite what gradients need.
    if cache is None or any(type(one) is not DynamicLayer for one in cache.layers):
        return read_whole(model, rows)
    cache.batch_repeat_interleave(len(rows))
    rest = model(rows[:, shared:], past_key_values=cache, use_cache=True)
    return torch.cat([start.last_hidden_state.expand(len(rows), -1, -1), rest.last_hidden_state], 1)
