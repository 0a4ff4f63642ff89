"""The weights that a recipe starts from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..agents.models.weights import weights_of
from ..errors import MissingExtra

FINAL = "final"  # where a run keeps its policy


@dataclass(frozen=True, slots=True)
class Policy:
    """A transformers model and its tokenizer."""

    model: Any
    tokenizer: Any


def load_policy(spec: str, precision: str = "float32") -> Policy:
    """From `pilot`, or `hf:PATH_OR_ID`; weights in the precision that they are to be trained in."""
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise MissingExtra("training", "train") from error
    path = weights_of(spec)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, precision))
    return Policy(model, AutoTokenizer.from_pretrained(path))


def save_policy(model: Any, tokenizer: Any, folder: Path) -> None:
    """As a plain transformers model that generates with its cache, which trainers switch off in its settings."""
    settings = (model.config, model.generation_config)
    before = [one.use_cache for one in settings]
    try:
        for one in settings:
            one.use_cache = True
        model.save_pretrained(folder)
    finally:
        for one, used in zip(settings, before, strict=True):
            one.use_cache = used
    tokenizer.save_pretrained(folder)
