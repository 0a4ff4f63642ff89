"""Scripted players that know the rules of the world's questions."""
