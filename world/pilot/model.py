"""Loads the pilot, the policy that comes with the package."""

from pathlib import Path
from typing import Any

from ...agents.models.hf import HFModel

FOLDER = Path(__file__).parent / "weights"  # written by `make pilot`; README.md is the model card


def weights() -> Path:
    """The folder of the weights."""
    return FOLDER


def load(*, rows: int = 256, **options: Any) -> HFModel:
    """Load the pilot with the options of `hf:PATH`; so small a model is faster with larger batches."""
    model = HFModel.load(str(FOLDER), rows=rows, **options)
    model.name = f"pilot{model.template.spec}"
    return model
