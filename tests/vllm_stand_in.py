"""TRL's `VLLMGeneration`, played by the weights that are trained: what is tested is how it is asked, not vLLM."""

from typing import Any

import torch


class StandIn:
    """Answers as TRL's does, one prompt after another, and keeps what it was asked."""

    asked: list[int]

    def __init__(self, model: Any, accelerator: Any, processing_class: Any, **settings: Any) -> None:
        self._model, self._accelerator, self._tokenizer = model, accelerator, processing_class
        self.settings = settings
        self.asked, self.synced = [], 0

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
                likely = model(torch.tensor([prompt + tokens])).logits[0, -1].log_softmax(-1)
            drawn = int(torch.multinomial(likely.exp(), 1))
            tokens.append(drawn)
            logprobs.append([likely[drawn].item()])
            text = self._tokenizer.decode(tokens)
            stops = self.settings["generation_kwargs"]["stop"]
            if drawn == self._tokenizer.eos_token_id or any(stop in text for stop in stops):
                break
        return tokens, logprobs
