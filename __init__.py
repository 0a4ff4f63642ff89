"""A text environment in which a language model answers a person's question by searching that person's own history.

import gymnasium as gym, profilegym as pg

env = gym.make("profilegym/ProfileQA-v0", data="world", retriever="bm25", reward="rubric")
"""
