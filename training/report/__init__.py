"""The report that a training run ends with."""
