"""PrLM's personalisation reward model: an encoder that scores question and answer without the profile."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from ..envs.episode import Episode
from ..envs.question import Question
from ..envs.text import clean
from ..errors import MissingExtra, RewardError

LENGTH = 512  # tokens of question and answer together


class Scorer(Protocol):
    """A torch module that scores answers to questions."""

    module: Any

    def scores(self, judged: Sequence[tuple[Question, str]]) -> Any: ...


def score_each(model: Scorer, episodes: Sequence[Episode]) -> list[float]:
    """Scores one at a time: in a batch, padding would change the last digits."""
    import torch

    model.module.eval()
    with torch.inference_mode():
        return [float(model.scores([(one.question, one.answer or "")])[0]) for one in episodes]


class RewardModel:
    """A transformers sequence classifier with one label."""

    def __init__(self, module: Any, tokenizer: Any) -> None:
        self.module, self.tokenizer = module, tokenizer

    @classmethod
    def load(cls, folder: str) -> Self:
        """Load a folder that `profilegym train` wrote, or any other sequence classifier with one label."""
        try:
            from transformers import AutoModelForSequenceClassification, AutoTokenizer
        except ImportError as error:
            raise MissingExtra("a reward model", "train") from error
        if not (Path(folder) / "config.json").is_file():
            raise RewardError(f"no reward model in {folder!r}: train one with profilegym train reward-model-world")
        model = AutoModelForSequenceClassification.from_pretrained(folder)
        if model.config.num_labels != 1:
            raise RewardError(
                f"{folder!r} holds a classifier with {model.config.num_labels} labels, not a reward model"
            )
        return cls(model, AutoTokenizer.from_pretrained(folder))

    def __call__(self, episodes: Sequence[Episode]) -> list[float]:
        """A missing answer counts as an empty one."""
        return score_each(self, episodes)

    def scores(self, judged: Sequence[tuple[Question, str]]) -> Any:
        """A tensor of one score per pair, with gradient."""
        read = self.tokenizer(
            [clean(question.text) for question, _ in judged],
            [clean(answer) for _, answer in judged],
            truncation=True, max_length=LENGTH, padding=True, return_tensors="pt",
        )  # fmt: skip
        return self.module(**read.to(self.module.device)).logits[:, 0].float()

    def save(self, folder: Path) -> None:
        self.module.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


load = RewardModel.load
