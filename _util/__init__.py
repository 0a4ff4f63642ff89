"""Helpers: JSON lines, registries, running async code from sync code, terminal text, prompts, caches."""
