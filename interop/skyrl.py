"""SkyRL: a text environment of skyrl-gym; its generator with controls, and its estimators, are in `skyrl_train`."""

from collections.abc import Callable, Mapping
from functools import cache
from math import nan
from typing import Any

from ..errors import MissingExtra, OptionError, RewardError
from .driver import Attempt, Driver

try:
    import skyrl_gym
    from skyrl_gym.envs.base_text_env import BaseTextEnv, BaseTextEnvStepOutput
    from skyrl_gym.envs.registration import registry
except ImportError as error:
    raise MissingExtra("an environment of SkyRL", "skyrl") from error

NAME = "profile_qa"


def register(data: Any = "world", unscored: str = "raise", **options: Any) -> None:
    """Register the environment as `profile_qa`, inside the Ray task that trains. The options are those of `Driver`.

    skyrl-gym has no reward that says "unscored". `unscored="raise"` raises `RewardError`, which ends the training;
    "nan" gives NaN, which the estimators of `skyrl_train` leave out and all others of SkyRL spread over the group.
    """
    if unscored not in ("raise", "nan"):
        raise OptionError(f"unscored={unscored!r}: give raise or nan")
    registry.pop(NAME, None)  # a second `register` replaces the first
    making = cache(lambda: Driver(data, **options))  # made in the process that plays
    members = {"_make_driver": staticmethod(making), "_unscored": unscored}
    skyrl_gym.register(NAME, type("ProfileEnv", (ProfileEnv,), members))


def questions(data: Any = "world") -> list[dict[str, Any]]:
    """The rows of a data set for SkyRL: ids alone, as the environment writes the prompt."""
    prompt = [{"role": "user", "content": ""}]
    ids = Driver(data, reward="none").questions.ids
    return [{"prompt": prompt, "env_class": NAME, "question_id": question_id} for question_id in ids]


class ProfileEnv(BaseTextEnv):
    """One episode, made by `skyrl_gym.make("profile_qa", …)` after `register`.

    `extras` are the fields of a row: `question_id`, and `kind="baseline"` for the control.
    """

    _make_driver: Callable[[], Driver]
    _unscored: str

    def __init__(self, env_config: Any, extras: Mapping[str, Any]) -> None:
        super().__init__()
        self._attempt: Attempt = self._make_driver().attempt(extras["question_id"], extras.get("kind", "personalised"))
        self.max_turns = extras.get("max_turns", 0)  # SkyRL's own limit; 0: that of the episode alone

    def init(self, prompt: Any) -> tuple[list[dict[str, str]], dict[str, Any]]:
        """The task and the question, in place of the row's prompt."""
        return [{"role": "user", "content": self._attempt.prompt}], {}

    def step(self, action: str) -> BaseTextEnvStepOutput:
        self.turns += 1
        shown = self._attempt.write(action).strip()
        if not self._attempt.done and self.turns == self.max_turns:
            self._attempt.stop()
        done = self._attempt.done
        observations = [] if done else [{"role": "user", "content": shown}]
        reward = self._reward() if done else 0.0
        return BaseTextEnvStepOutput(observations=observations, reward=reward, done=done, metadata={})

    def close(self) -> None:
        """SkyRL closes an episode that its limit of tokens cut off."""
        self._attempt.stop()

    def get_metrics(self) -> dict[str, float]:
        return dict(self._attempt.outcome().figures) if self._attempt.done else {}

    def _reward(self) -> float:
        outcome = self._attempt.outcome()
        if outcome.reward is not None:
            return outcome.reward
        if self._unscored == "nan":
            return nan
        raise RewardError(f"attempt {self._attempt.episode.id} could not be scored: {outcome.unscored}")
