"""What happens: questions, profiles, retrieval, actions, episodes, trajectories."""
