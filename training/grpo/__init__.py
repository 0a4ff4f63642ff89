"""GRPO with groups of personalised and baseline rollouts, on TRL's trainer."""

import os

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # its version is pinned
