"""The reports of training runs."""
