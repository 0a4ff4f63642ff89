"""Gymnasium wrappers: observations as chat messages, a cost for each turn, records in a file, NaN for an outage."""

from os import PathLike
from typing import Any

import gymnasium as gym

from ..agents.models.openai_formats import messages_of, tool_messages_of
from ..envs.profile_qa import ProfileQAEnv
from ..envs.trajectory import TrajectoryWriter
from ..errors import OptionError, RewardError

Messages = list[dict[str, Any]]
Info = dict[str, Any]


class ChatMessages(gym.ObservationWrapper[Messages, str, str]):
    """The observation is the conversation so far, as chat models take it. It ends with the policy's answer."""

    def observation(self, observation: str) -> Messages:
        episode = episode_env(self).episode
        return (tool_messages_of if episode.protocol == "tools" else messages_of)(episode.segments)


class TurnCost(gym.Wrapper[str, str, str, str]):
    """Takes `cost` off the reward of every turn that does not answer. An unscored episode stays NaN."""

    def __init__(self, env: gym.Env[str, str], cost: float) -> None:
        if not cost >= 0:
            raise OptionError(f"cost={cost!r}: give a number of at least 0")
        super().__init__(env)
        self.cost = cost

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, float(reward) - (0.0 if terminated else self.cost), terminated, truncated, info


class Recording(gym.Wrapper[str, str, str, str]):
    """Appends the record of each finished episode to a file, which `profilegym view` shows."""

    def __init__(self, env: gym.Env[str, str], path: str | PathLike[str]) -> None:
        super().__init__(env)
        self._writer = TrajectoryWriter(path)

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        if (record := info.get("trajectory")) is not None:
            self._writer.write(record)
        return observation, float(reward), terminated, truncated, info

    def close(self) -> None:
        self._writer.close()
        super().close()


class Unscored(gym.Wrapper[str, str, str, str]):
    """An episode that could not be scored ends with reward NaN, where the environment alone raises the judge's error.

    So a loop goes on, and `RecordEpisodeStatistics` counts it with the return NaN, which `numpy.nanmean` leaves out.
    """

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        try:
            observation, reward, terminated, truncated, info = self.env.step(action)
        except RewardError as error:
            record = episode_env(self).episode.trajectory()
            return "", float("nan"), False, True, {"trajectory": record, "unscored": str(error)}
        return observation, float(reward), terminated, truncated, info


def episode_env(env: gym.Env[Any, Any]) -> ProfileQAEnv:
    """The environment under its wrappers."""
    bare = env.unwrapped
    if not isinstance(bare, ProfileQAEnv):
        raise OptionError(f"this wrapper is for profilegym/ProfileQA-v0, not for {bare!r}")
    return bare
