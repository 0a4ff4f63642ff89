"""Reward models trained on pairs of answers."""
