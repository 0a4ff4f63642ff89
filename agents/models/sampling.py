"""Draws the next token of many rows at once, each with its own luck."""

from collections.abc import Sequence
from typing import Any

from ...envs.chat import Sampling
from ...errors import OptionError


def check(sampling: Sampling) -> None:
    if not 0 <= sampling.temperature < float("inf"):
        raise OptionError(f"temperature={sampling.temperature!r}: give 0 (always the likeliest token) or more")
    if not 0 < sampling.top_p <= 1:
        raise OptionError(f"top_p={sampling.top_p!r}: give more than 0, and at most 1")
    if sampling.max_tokens < 1:
        raise OptionError(f"max_tokens={sampling.max_tokens!r}: give at least 1")


def draw(logits: Any, samplings: Sequence[Sampling], uniforms: Sequence[float]) -> tuple[list[int], list[float]]:
    """A token for each row of `logits` [rows, tokens], and its log-probability; `luck` is in [0, 1).

    The log-probability is that of the distribution drawn from, after temperature and top_p (vLLM's
    `processed_logprobs`, which TRL expects). At temperature 0 it is that of the untempered one.
    """
    import torch

    heat = torch.tensor([sampling.temperature or 1.0 for sampling in samplings], device=logits.device)
    logprobs = torch.log_softmax(logits / heat[:, None], -1)
    if any(sampling.top_p < 1 for sampling in samplings):
        logprobs = _nucleus(logprobs, torch.tensor([sampling.top_p for sampling in samplings], device=logits.device))
    # The first token at which the summed probability reaches 1 - luck, which is never 0: so its own is not 0 either.
    summed = logprobs.exp().cumsum(-1)
    reach = torch.tensor([1 - chance for chance in uniforms], device=logits.device)
    tokens = torch.searchsorted(summed, summed[:, -1:] * reach[:, None])[:, 0]
    greedy = torch.tensor([sampling.temperature == 0 for sampling in samplings], device=logits.device)
    tokens = torch.where(greedy, logits.argmax(-1), tokens)
    return tokens.tolist(), logprobs.gather(-1, tokens[:, None])[:, 0].tolist()


def _nucleus(logprobs: Any, top_p: Any) -> Any:
    """Without the unlikeliest tokens, so many that the rest still sum up to `top_p`."""
    import torch

    likeliest, order = logprobs.sort(descending=True)
    before = likeliest.exp().cumsum(-1) - likeliest.exp()
    likeliest = likeliest.masked_fill(before >= top_p[:, None], -torch.inf)
    return torch.log_softmax(torch.empty_like(logprobs).scatter_(-1, order, likeliest), -1)
