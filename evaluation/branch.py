"""Branches a run: continues its episodes from a chosen step with another agent, model, retriever or profile."""

from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..agents.agent import Agent, make_agent
from ..agents.models.model import make_model
from ..agents.replay import Replayed
from ..agents.rollout import Job, Rollout
from ..envs.data.profile_controls import ProfileOf, swapped
from ..envs.trajectory import Trajectory
from ..errors import OptionError
from .evaluate import Progress, Settings, Speed, rollout_of, sum_up
from .recorded_run import RecordedRun
from .run import RunDirectory
from .summary import place_of

CHANGEABLE = ("agent", "model", "retriever", "top_k")  # settings that a branch may change


@dataclass(frozen=True)
class Changes:
    """The step to branch from, and what to change; None keeps the recorded value."""

    step: int
    agent: str | None = None
    model: str | None = None
    retriever: str | None = None
    top_k: int | None = None
    profile: ProfileOf | None = None

    def __post_init__(self) -> None:
        if self.step < 0:
            raise OptionError(f"step={self.step!r}: give how many recorded turns to keep, 0 or more")

    def settings(self, recorded: dict[str, Any]) -> Settings:
        """The recorded settings with the changes applied."""
        changed = {name: getattr(self, name) for name in CHANGEABLE}
        return replace(Settings.of(recorded), **{name: value for name, value in changed.items() if value is not None})


async def branch(
    parent: RecordedRun,
    changes: Changes,
    run: RunDirectory,
    speed: Speed,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Plays each personalised episode from the step; its trajectory names its parent. A second call continues.

    Token budgets restart at the step. No baselines are played, so there is no gain.
    """
    settings = changes.settings(parent.settings)
    agent = make_agent(settings.agent)
    told = {"parent": str(parent.run.path), "from_step": changes.step, "profile": changes.profile}
    with run.writing_episodes(asdict(settings) | told):
        model = make_model(settings.model)
        try:
            await _play_all(parent, changes, run, rollout_of(settings, speed, model, agent), agent, progress)
        finally:
            await model.close()
        return sum_up(run)


async def _play_all(
    parent: RecordedRun,
    changes: Changes,
    run: RunDirectory,
    rollout: Rollout,
    agent: Agent,
    progress: Progress | None,
) -> None:
    done = {trajectory.id for trajectory in run.finished()}
    parents = {place_of(recorded): recorded.id for recorded in _recorded(parent)}
    retriever = rollout.retriever if changes.retriever else None
    players = (Replayed(agent, recorded, changes.step, retriever, changes.profile) for recorded in _recorded(parent))
    jobs = (_job(parent, player) for player in players)
    tell = progress or (lambda *_: None)
    tell(len(done), len(parents), None)
    with run.writer() as writer:
        async with aclosing(rollout.run(job for job in jobs if job.id not in done)) as ended:
            async for trajectory in ended:
                trajectory.parent = {"id": parents[place_of(trajectory)], "step": changes.step}
                writer.write(trajectory)
                done.add(trajectory.id)
                tell(len(done), len(parents), trajectory)


def _recorded(parent: RecordedRun) -> Iterator[Trajectory]:
    return (trajectory for trajectory in parent.trajectories() if trajectory.kind == "personalised")


def _job(parent: RecordedRun, player: Replayed) -> Job:
    question_id, attempt = place_of(player.trajectory)
    question = swapped(parent.questions.find(question_id), player.profile, parent.questions)
    return Job(question, player, attempt, parent.settings["data"])
