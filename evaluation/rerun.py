"""A run's episodes gone on with from a chosen step, by whichever model, over whichever posts."""

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
from .played import PlayedRun
from .run import RunDirectory
from .summary import place_of

OTHERWISE = ("agent", "model", "retriever", "top_k")  # settings that can be other than those recorded


@dataclass(frozen=True)
class Otherwise:
    """From which step on, and what is to be other than it was; None leaves it."""

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
        """Those of the recorded run, with what is other now."""
        changed = {name: getattr(self, name) for name in OTHERWISE}
        return replace(Settings.of(recorded), **{name: value for name, value in changed.items() if value is not None})


async def rerun(
    parent: PlayedRun,
    otherwise: Otherwise,
    run: RunDirectory,
    speed: Speed,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Each personalised episode again; its trajectory names its parent. Killed and called again, it goes on.

    Budgets of tokens begin anew at the step. Nothing is played without the profile: there is no gain to be told.
    """
    settings = otherwise.settings(parent.settings)
    agent = make_agent(settings.agent)
    told = {"parent": str(parent.run.path), "from_step": otherwise.step, "profile": otherwise.profile}
    with run.writing(asdict(settings) | told):
        model = make_model(settings.model)
        try:
            await _play_all(parent, otherwise, run, rollout_of(settings, speed, model, agent), agent, progress)
        finally:
            await model.close()
        return sum_up(run)


async def _play_all(
    parent: PlayedRun,
    otherwise: Otherwise,
    run: RunDirectory,
    rollout: Rollout,
    agent: Agent,
    progress: Progress | None,
) -> None:
    done = {trajectory.id for trajectory in run.finished()}
    parents = {place_of(recorded): recorded.id for recorded in _recorded(parent)}
    retriever = rollout.retriever if otherwise.retriever else None
    players = (
        Replayed(agent, recorded, otherwise.step, retriever, otherwise.profile) for recorded in _recorded(parent)
    )
    jobs = (_job(parent, player) for player in players)
    tell = progress or (lambda *_: None)
    tell(len(done), len(parents), None)
    with run.writer() as writer:
        async with aclosing(rollout.run(job for job in jobs if job.id not in done)) as ended:
            async for trajectory in ended:
                trajectory.parent = {"id": parents[place_of(trajectory)], "step": otherwise.step}
                writer.write(trajectory)
                done.add(trajectory.id)
                tell(len(done), len(parents), trajectory)


def _recorded(parent: PlayedRun) -> Iterator[Trajectory]:
    return (trajectory for trajectory in parent.trajectories() if trajectory.kind == "personalised")


def _job(parent: PlayedRun, player: Replayed) -> Job:
    question_id, attempt = place_of(player.trajectory)
    question = swapped(parent.questions.find(question_id), player.profile, parent.questions)
    return Job(question, player, int(attempt), parent.settings["data"])
