"""Prompts for judges, as text files."""

FOLDER = __name__
