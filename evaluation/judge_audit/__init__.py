"""Measures how reliable a judge is."""
