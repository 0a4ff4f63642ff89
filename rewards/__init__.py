"""Rewards of finished episodes, and the judges behind them."""

from .registry import make_judge, make_reward, register_judge, register_reward

__all__ = ["make_judge", "make_reward", "register_judge", "register_reward"]
