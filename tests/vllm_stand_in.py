"""TRL's `VLLMGeneration`, played by the weights that are trained: what is tested is how it is asked, not vLLM."""

from types import SimpleNamespace
from typing import Any

import torch


class StandIn:
    """Answers as TRL's does, one prompt after another, and keeps what it was asked.

    It samples from the nucleus of `top_p`, and gives log-probabilities over that, as vLLM does.
    """

    asked: list[int]

    def __init__(self, model: Any, accelerator: Any, processing_class: Any, **settings: Any) -> None:
        self._model, self._accelerator, self._tokenizer = model, accelerator, processing_class
        self.settings = settings
        self.asked, self.synced = [], 0
        limits = SimpleNamespace(max_model_len=model.config.max_position_embeddings)
        self.llm = SimpleNamespace(llm_engine=SimpleNamespace(model_config=limits))

    def sync_weights(self) -> None:
        self.synced += 1

    def generate(self, prompts: list[list[int]], images: None, num_generations: int, profiler: Any = None) -> Any:
        assert num_generations == 1
        self.asked.append(len(prompts))
        written = [self._written(prompt) for prompt in prompts]
        return prompts, [tokens for tokens, _ in written], [logprobs for _, logprobs in written], None

    def _written(self, prompt: list[int]) -> tuple[list[int], list[list[float]]]:
        model = self._accelerator.unwrap_model(self._model)
        tokens: list[int] = []
        logprobs: list[list[float]] = []
        while len(tokens) < self.settings["max_completion_length"]:
            with torch.no_grad():
                likely = nucleus(model(torch.tensor([prompt + tokens])).logits[0, -1], self.settings["top_p"])
            drawn = int(torch.multinomial(likely.exp(), 1))
            tokens.append(drawn)
            logprobs.append([likely[drawn].item()])
            text = self._tokenizer.decode(tokens)
            stops = self.settings["generation_kwargs"]["stop"]
            if drawn == self._tokenizer.eos_token_id or any(stop in text for stop in stops):
                break
        return tokens, logprobs


def nucleus(logits: torch.Tensor, top_p: float) -> torch.Tensor:
    """Log-probabilities over the likeliest tokens that have `top_p` together."""
    likely, order = logits.softmax(-1).sort(descending=True)
    kept = order[likely.cumsum(-1) - likely < top_p]
    found = torch.full_like(logits, float("-inf"))
    found[kept] = logits[kept].log_softmax(-1)
    return found
