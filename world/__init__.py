"""The made-up world, all of it: people drawn from a seed, scripted players and the pilot, a small policy."""
