"""A run that was played, as those see it who look at it: its questions, and its episodes with late verdicts."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from ..agents.agent import make_agent
from ..envs.data import load_questions
from ..envs.data.profile_controls import ProfileOf, swapped
from ..envs.question import Question
from ..envs.trajectory import Trajectory
from ..errors import DataError
from .rejudge import healed
from .run import RunDirectory
from .verdicts import key_of, verdicts_of


class PlayedRun:
    """Reads the directory anew each time, and holds no episode."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self.settings: dict[str, Any] = run.settings
        if missing := {"agent", "data"} - self.settings.keys():
            raise DataError(
                f"{run.path} is no run of profilegym eval: its recipe names no {', '.join(sorted(missing))}"
            )
        self.questions = load_questions(self.settings["data"])
        self.profile: ProfileOf = self.settings.get("profile") or make_agent(self.settings["agent"]).profile

    def find(self, question_id: str) -> Question:
        """The question over those posts that were searched."""
        return swapped(self.questions.find(question_id), self.profile, self.questions)

    def trajectories(self, judge: str | None = None) -> Iterator[Trajectory]:
        """With the verdicts of the run's own judge, or with those of the named one only."""
        own = healed(self.run, self.run.trajectories())
        return own if judge is None else self._judged_by(judge, own)

    def _judged_by(self, judge: str, own: Iterable[Trajectory]) -> Iterator[Trajectory]:
        later = verdicts_of(self.run.path)
        for trajectory in own:
            if trajectory.verdict is None or trajectory.verdict.judge != judge:
                newest = [late.verdict for late in later.get(key_of(trajectory), ()) if late.judge == judge][-1:]
                trajectory = replace(trajectory, verdict=newest[0] if newest else None, reward=None)
            yield trajectory
