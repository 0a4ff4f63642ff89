"""The policy that comes with the package: it speaks the protocol, reads well and searches clumsily."""

from pathlib import Path
from typing import Any

from ...agents.models.hf import HFModel

FOLDER = Path(__file__).parent / "weights"  # written by `make pilot`; its README.md tells what it can do


def weights() -> Path:
    """The folder of the weights."""
    return FOLDER


def load(*, rows: int = 256, **options: Any) -> HFModel:
    """The options are those of `hf:PATH`; for so small a model more rows pay."""
    model = HFModel.load(str(FOLDER), rows=rows, **options)
    model.name = f"pilot{model.template.spec}"
    return model
