"""Reward models learned from pairs of answers."""
