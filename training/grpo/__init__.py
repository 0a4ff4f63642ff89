"""GRPO with groups of personalised and baseline rollouts, on TRL's trainer."""
