"""Training: recipes, GRPO, fine-tuning, reward models, stages and reports."""

from .advantage import advantages

__all__ = ["advantages"]
