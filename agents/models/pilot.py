"""The policy that comes with the package: it speaks the protocol, reads well and searches clumsily."""

from pathlib import Path
from typing import Any

from .hf import HFModel

FOLDER = Path(__file__).parent / "pilot_weights"  # written by `make pilot`; its README.md tells what it can do


def load(**options: Any) -> HFModel:
    """The options are those of `hf:PATH`."""
    model = HFModel.load(str(FOLDER), **options)
    model.name = "pilot"
    return model
