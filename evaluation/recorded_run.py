"""Reads a recorded run: its settings, its questions, and its trajectories with late verdicts."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from ..agents.agent import make_agent
from ..envs.data import load_questions
from ..envs.data.profile_controls import ProfileOf, swapped
from ..envs.question import Question
from ..envs.trajectory import Trajectory
from ..errors import DataError
from .late_verdicts import read_verdicts, verdict_key, with_late_verdicts
from .run import RunDirectory


class RecordedRun:
    """Reads the directory on each call and holds no trajectory in memory."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self.settings: dict[str, Any] = run.settings
        if missing := {"agent", "data"} - self.settings.keys():
            raise DataError(f"{run.path} is no run of profilegym eval: its settings lack {', '.join(sorted(missing))}")
        self.questions = load_questions(self.settings["data"])
        self.profile: ProfileOf = self.settings.get("profile") or make_agent(self.settings["agent"]).profile

    def find(self, question_id: str) -> Question:
        """The question with the profile that was searched."""
        return swapped(self.questions.find(question_id), self.profile, self.questions)

    def trajectories(self, judge: str | None = None) -> Iterator[Trajectory]:
        """With verdicts by the run's own judge, or by `judge` alone."""
        own = with_late_verdicts(self.run, self.run.trajectories())
        return own if judge is None else self._judged_by(judge, own)

    def _judged_by(self, judge: str, own: Iterable[Trajectory]) -> Iterator[Trajectory]:
        later = read_verdicts(self.run.path)
        for trajectory in own:
            if trajectory.verdict is None or trajectory.verdict.judge != judge:
                newest = [late.verdict for late in later.get(verdict_key(trajectory), ()) if late.judge == judge][-1:]
                trajectory = replace(trajectory, verdict=newest[0] if newest else None, reward=None)
            yield trajectory
