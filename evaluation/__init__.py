"""Runs, their figures with intervals, comparison, replay, and the audit of judges."""
