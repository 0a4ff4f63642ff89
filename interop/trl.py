"""TRL: environments and rewards for its own trainers, and the rollout worker of its asynchronous one."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from ..agents.models.openai_formats import content_text
from ..agents.turn_format import answer_with
from ..envs.action import Answer, parse_action
from ..errors import EpisodeError, MissingExtra
from .driver import Attempt, Driver
from .trl_methods import method_of

_ANSWER = re.compile(
    r"<\s*+answer(?:\s[^<>]*+)?+>((?:(?!<\s*+answer\b).)*?)</\s*+answer\s*+>", re.DOTALL | re.IGNORECASE
)
_OVER = "The episode is over."


class EnvironmentFactory:
    """What `GRPOTrainer(environment_factory=…)` takes; `questions()` are the rows of its data set."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = dict(options)
        self._made: tuple[Driver, type] | None = None

    def __call__(self) -> Any:
        self._made = self._made or _environment_class(self._driver())
        return self._made[1]()

    def questions(self) -> list[dict[str, Any]]:
        """The id of each; `reset` adds the prompt."""
        prompt = [{"role": "user", "content": ""}]
        return [{"prompt": prompt, "question_id": question_id} for question_id in self._driver().questions.ids]

    def __reduce__(self) -> tuple[Any, ...]:  # an environment's class cannot be pickled
        return EnvironmentFactory, (self._options,)

    def _driver(self) -> Driver:
        return self._made[0] if self._made else Driver(**self._options)


def environment_factory(data: Any = "world", **options: Any) -> EnvironmentFactory:
    """Episodes with native tool calls for TRL's own trainers. The options are those of `Driver`, such as `tools`."""
    return EnvironmentFactory({"data": data, **options, "protocol": "tools"})


def reward_func(reward: Any, data: Any = "world", **options: Any) -> Callable[..., Awaitable[list[float | None]]]:
    """A reward of this package for `GRPOTrainer(reward_funcs=…)`: the completion answers the row's `question_id`.

    It is the text inside `<answer>`, or the whole text. Asynchronous: one latency of the judge for a step.
    """
    driver = Driver(data, reward=reward, **options)

    async def profile_reward(completions: Sequence[Any], question_id: Sequence[str], **_: Any) -> list[float | None]:
        attempts = [driver.attempt(one, "baseline") for one in question_id]
        for attempt, completion in zip(attempts, completions, strict=True):
            await attempt.write_async(_as_answer(completion))
        outcomes = await asyncio.gather(*(attempt.outcome_async() for attempt in attempts))
        return [outcome.reward for outcome in outcomes]

    return profile_reward


def _as_answer(completion: str | Sequence[Mapping[str, Any]]) -> str:
    """The turn of text that answers what the policy wrote last."""
    if isinstance(completion, str):
        text = completion
    else:
        said = [message.get("content") for message in completion if message.get("role", "assistant") == "assistant"]
        text = (content_text(said[-1]) if said else None) or ""
    if isinstance(parse_action(text), Answer):
        return text
    answers = _ANSWER.findall(text)
    return answer_with(answers[-1] if answers else text, "")


class _Environment:
    """One rollout at a time; a subclass has the tools as methods."""

    _driver: Driver
    _attempt: Attempt | None = None

    def reset(self, *, question_id: str, **_: Any) -> str:
        """Begins an episode; gives the task and the question, for the end of the prompt."""
        self._attempt = self._driver.attempt(question_id)
        return str(self._attempt.messages[0]["content"])

    async def get_reward(self) -> float | None:
        """None where it could not be scored. Without an answer the rollout was cut off."""
        self._playing().stop()
        return (await self._playing().outcome_async()).reward

    def _call(self, name: str, arguments: Mapping[str, Any]) -> str:
        attempt = self._playing()
        return attempt.call(name, arguments).strip() or _OVER if not attempt.done else _OVER

    def _playing(self) -> Attempt:
        if self._attempt is None:
            raise EpisodeError("there is no episode yet: call reset(question_id=…) first")
        return self._attempt


def _environment_class(driver: Driver) -> tuple[Driver, type]:
    """The tools of a driver's episodes as methods, in the form that chat templates describe: types and docstrings."""
    methods = {tool["function"]["name"]: method_of(tool["function"]) for tool in driver.tools}
    return driver, type("ProfileQA", (_Environment,), {"_driver": driver, **methods})


def rollout_worker(*arguments: Any, **options: Any) -> Any:
    """A `RolloutWorker` for `AsyncGRPOTrainer(rollout_worker=…)`: tags, exact tokens, and the control in the group."""
    try:
        from ..training.grpo.rollout_worker import RolloutWorker
    except ImportError as error:
        raise MissingExtra("the rollout worker of TRL", "train") from error
    return RolloutWorker(*arguments, **options)
