"""How a model learns: demonstrations, fine-tuning, the pilot that both make, and reinforcement."""

from .advantage import advantages

__all__ = ["advantages"]
