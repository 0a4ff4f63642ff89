"""`report.html` of a training run."""

from pathlib import Path

from .recipe import Recipe


def write_report(recipe: Recipe, out: Path) -> None:
    """From what the directory holds."""
