"""Agents and the language models behind them."""
