"""What TRL's asynchronous trainer needs a GPU for, and what takes its place where there is none, or no FlashAttention.

TRL packs the samples of a step into rows without padding and attends within them by FlashAttention 3, a kernel of the
package `kernels`. Plain attention, segment by segment, computes the same and needs neither; it is slow.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from trl.experimental.async_grpo.packing import TREE_ATTENTION

_BUILT_FOR = (8, 9)  # generations of NVIDIA's GPUs that `kernels-community/flash-attn3` has: Ampere, Ada and Hopper


def needs_plain_attention() -> bool:
    """Whether FlashAttention 3 cannot be had: no GPU that it is built for, or no package `kernels`."""
    if not torch.cuda.is_available() or find_spec("kernels") is None:
        return True
    return torch.version.hip is None and torch.cuda.get_device_capability()[0] not in _BUILT_FOR


def use_plain_attention() -> None:
    """Replaces TRL's attention under its name, which it registers when a trainer is made: call it afterwards."""
    AttentionInterface.register(TREE_ATTENTION, plain_attention)


def plain_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    tree_kv_index: torch.Tensor,
    tree_cu_seqlens_q: torch.Tensor,
    tree_cu_seqlens_k: torch.Tensor,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Each segment of a packed row attends to its path from the root; the arguments are those of TRL's attention."""
    if softcap:
        raise NotImplementedError("plain attention has no soft cap: train this model on a GPU with the package kernels")
    heads = query.shape[1] // key.shape[1]
    found = torch.empty_like(query[0])  # [heads, tokens, size]
    starts, paths = tree_cu_seqlens_q.tolist(), tree_cu_seqlens_k.tolist()
    for start, end, first, last in zip(starts[:-1], starts[1:], paths[:-1], paths[1:], strict=True):
        rows = tree_kv_index[first:last]
        keys, values = (x[0].index_select(1, rows).repeat_interleave(heads, 0) for x in (key, value))
        allowed = _mask(end - start, last - first, sliding_window, query.device)
        found[:, start:end] = scaled_dot_product_attention(
            query[0, :, start:end], keys, values, attn_mask=allowed, scale=scaling
        )
    return found.transpose(0, 1).unsqueeze(0), None


def _mask(queries: int, keys: int, window: int | None, device: torch.device) -> torch.Tensor:
    """The last `queries` of `keys` positions, each of which sees itself and those before it, within the window."""
    position = torch.arange(keys - queries, keys, device=device)[:, None]
    seen = torch.arange(keys, device=device)[None]
    allowed = seen <= position
    return allowed & (seen > position - window) if window else allowed


@contextmanager
def named_device() -> Iterator[None]:
    """While a trainer is made: it looks up the device's peak speed by its name, which a CPU does not have."""
    if torch.cuda.is_available():
        yield
        return
    original = torch.cuda.get_device_name
    torch.cuda.get_device_name = lambda device=None: "cpu"
    try:
        yield
    finally:
        torch.cuda.get_device_name = original
