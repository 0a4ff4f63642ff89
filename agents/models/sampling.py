"""Samples the next token of many rows at once."""

from collections.abc import Sequence
from typing import Any

from ...envs.chat import Sampling


def draw(logits: Any, samplings: Sequence[Sampling], uniforms: Sequence[float]) -> tuple[list[int], list[float]]:
    """A token for each row of `logits` [rows, tokens], and its log-probability; `uniforms` are in [0, 1).

    Log-probabilities are those of the sampled distribution, after temperature and top_p (vLLM's
    `processed_logprobs`, which TRL expects). At temperature 0 they are those of the untempered one.
    """
    import torch

    temperature = torch.tensor([sampling.temperature or 1.0 for sampling in samplings], device=logits.device)
    logprobs = torch.log_softmax(logits / temperature[:, None], -1)
    if any(sampling.top_p < 1 for sampling in samplings):
        logprobs = _nucleus(logprobs, torch.tensor([sampling.top_p for sampling in samplings], device=logits.device))
    # The first token at which the cumulative probability reaches 1 - uniform > 0, so its own probability is not 0.
    cumulative = logprobs.exp().cumsum(-1)
    target = torch.tensor([1 - uniform for uniform in uniforms], device=logits.device)
    tokens = torch.searchsorted(cumulative, cumulative[:, -1:] * target[:, None])[:, 0]
    greedy = torch.tensor([sampling.temperature == 0 for sampling in samplings], device=logits.device)
    tokens = torch.where(greedy, logits.argmax(-1), tokens)
    return tokens.tolist(), logprobs.gather(-1, tokens[:, None])[:, 0].tolist()


def _nucleus(logprobs: Any, top_p: Any) -> Any:
    """Keeps the most likely tokens whose probabilities sum to `top_p`."""
    import torch

    ranked, order = logprobs.sort(descending=True)
    before = ranked.exp().cumsum(-1) - ranked.exp()
    ranked = ranked.masked_fill(before >= top_p[:, None], -torch.inf)
    return torch.log_softmax(torch.empty_like(logprobs).scatter_(-1, order, ranked), -1)
