"""The episode that is stepped beside each framework."""

from typing import Any

import gymnasium as gym

import profilegym as pg

DATA = "world:users=20/test"


def questions() -> Any:
    return pg.load_questions(DATA)


def right_answer(question_id: str) -> str:
    return "; ".join(aspect.accepted[0] for aspect in questions().find(question_id).rubric.aspects)


def play(question_id: str) -> float:
    """Search once, then answer rightly; gives the reward."""
    env = gym.make("profilegym/ProfileQA-v0", data=DATA, retriever="bm25", reward="rubric")
    env.reset(seed=7, options={"question_id": question_id})
    env.step("<search>food</search>")
    _, reward, terminated, _, info = env.step(f"<answer>{right_answer(question_id)}</answer>")
    assert terminated
    assert info["trajectory"].verdict.score == reward == 1.0
    return float(reward)
