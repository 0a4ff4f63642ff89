"""Scripted players of the world."""
