"""What an answer was worth."""

from .reward import make_reward, register_reward

__all__ = ["make_reward", "register_reward"]
