"""Prompts of agents outside the transcript."""

FOLDER = __name__
