"""What an answer was worth."""

from .registry import make_reward, register_reward

__all__ = ["make_reward", "register_reward"]
