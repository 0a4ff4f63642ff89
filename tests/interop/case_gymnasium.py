"""Gymnasium: the environment as `gym.make` makes it."""

import gymnasium as gym
from scripted import ASKED, OPTIONS, QUESTIONS, Facts, Played, Script, judge_of, main, played

import profilegym.errors

FACTS = Facts(
    "Gymnasium", ("gymnasium",), "it has no groups", "`RewardError` is raised; NaN in vectors", "it has no tokens"
)


def play(script: Script) -> Played:
    env = gym.make("profilegym/ProfileQA-v0", data=QUESTIONS, reward=judge_of(script), **OPTIONS)
    observation, _ = env.reset(seed=7, options={"question_id": ASKED})
    shown, reward = [observation], None
    for text in script.texts("tags"):
        try:
            observation, reward, *_ = env.step(text)
        except profilegym.errors.RewardError:
            break
        shown.append(observation)
    else:
        return played(env.unwrapped.episode.trajectory(), filter(None, shown), reward, False)
    return played(env.unwrapped.episode.trajectory(), filter(None, shown), None, True)


main(FACTS, play)
