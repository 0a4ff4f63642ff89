"""verifiers 0.4: any data set as a taskset, with a seat for the policy and one for its control without the profile.

A package that exports `ProfileTaskset`, `ProfileEnv` and `ProfileHarness` is an environment of its hub:
examples/profile_qa_verifiers.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from ..agents.models.openai_formats import closing_tag
from ..envs.trajectory import Kind, Trajectory
from ..errors import MissingExtra, RewardError
from .driver import Attempt, Driver, Outcome
from .records.verifiers import OURS

try:
    import verifiers.v1 as vf
except ImportError as error:
    raise MissingExtra("an environment of verifiers", "verifiers") from error

from .verifiers_harness import ProfileHarness

_HERE = vf.SubprocessConfig()  # nothing is started in it


class ProfileTask(vf.Task[vf.TaskData]):
    """Its data is the id of a question alone, as it is written to disk; the rest is looked up where it is played."""

    @property
    def key(self) -> str:
        return str(self.data.id)


class ProfileTasksetConfig(vf.TasksetConfig):
    data: str = "world/train"
    retriever: str = "bm25"
    reward: str = "rubric"
    top_k: int = 3
    max_searches: int = 4


class ProfileTaskset(vf.Taskset[ProfileTask, ProfileTasksetConfig]):
    """A task for each question of a data set."""

    @cached_property
    def driver(self) -> Driver:
        asked = self.config
        options: dict[str, Any] = {"top_k": asked.top_k, "max_searches": asked.max_searches}
        return Driver(asked.data, asked.retriever, asked.reward, **options)

    def load(self) -> Iterator[ProfileTask]:
        for question_id in self.driver.questions.ids:
            yield ProfileTask(vf.TaskData(id=question_id), self.config.task)


class ProfileEnvConfig(vf.EnvConfig):
    player: vf.AgentConfig = vf.AgentConfig(runtime=_HERE)
    control: vf.AgentConfig = vf.AgentConfig(runtime=_HERE)
    with_control: bool = True


class ProfileEnv(vf.Env[ProfileEnvConfig]):
    """The player searches the profile; the control answers without it and is never trained.

    The player's trace has the reward, the figures of `profilegym eval` and the gain over the control as metrics. An
    attempt that could not be scored fails the episode.
    """

    async def setup(self, agents: Any) -> None:
        agents.control.trainable = False

    async def run(self, task: Any, agents: Any) -> None:
        trace, own = await self._play(task, agents.player, "personalised")
        if self.config.with_control and own is not None:
            _, control = await self._play(task, agents.control, "baseline")
            gain = None if control is None else own.gain(control)
            if gain is not None:
                trace.record_metric("gain", gain)

    async def _play(self, task: Any, agent: Any, kind: Kind) -> tuple[Any, Outcome | None]:
        """The trace and what it was worth; None where the model failed, which the trace tells."""
        attempt = self.taskset.driver.attempt(task.data.id, kind)
        async with agent.interaction(task) as interaction:
            segment = await interaction.turn(attempt.messages[0]["content"])
            while not segment.terminated:
                shown = await attempt.write_async(_closed(segment.last_reply, attempt))
                if attempt.done:
                    break
                segment = await interaction.turn(shown.strip())
        trace = interaction.trace
        if trace.errors:
            attempt.fail(trace.errors[-1].message)
            return trace, None
        attempt.stop()
        outcome = await attempt.outcome_async()
        trace.info[OURS] = _record(attempt.trajectory())
        if outcome.reward is None:
            raise RewardError(outcome.unscored or "the attempt was not scored")
        trace.record_reward("reward", outcome.reward)
        trace.record_metrics(outcome.figures)
        return trace, outcome


def _closed(text: str, attempt: Attempt) -> str:
    """With the closing tag that servers leave out, as it stopped the model."""
    return text + closing_tag(text, attempt.stops)


def _record(trajectory: Trajectory) -> dict[str, Any]:
    """What a trace does not have, for `profilegym import verifiers`. Nothing of the rubric: traces are uploaded."""
    searches = [[search.turn, search.query, list(map(list, search.hits))] for search in trajectory.searches]
    known = ("data", "user_id", "answer", "ended", "malformed", "prompt")
    return {"searches": searches, **{name: getattr(trajectory, name) for name in known}}


__all__ = ["ProfileEnv", "ProfileHarness", "ProfileTaskset"]
