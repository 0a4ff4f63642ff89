"""Helpers without an idea of their own: JSON lines, registries, sync from async, terminal text, caches."""
