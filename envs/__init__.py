"""The environment: questions, profiles, retrieval, actions, episodes, trajectories."""
