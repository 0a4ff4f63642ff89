"""A run that was played, as those see it who look at it: its questions, and its episodes with late verdicts."""

from collections.abc import Iterator
from typing import Any

from ..agents.agent import make_agent
from ..envs.data import load_questions
from ..envs.data.swap import ProfileOf, swapped
from ..envs.question import Question
from ..envs.trajectory import Trajectory
from .rejudge import healed
from .run import RunDirectory


class PlayedRun:
    """Reads the directory anew each time, and holds no episode."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self.settings: dict[str, Any] = run.settings
        self.questions = load_questions(self.settings["data"])
        self.profile: ProfileOf = self.settings.get("profile") or make_agent(self.settings["agent"]).profile

    def find(self, question_id: str) -> Question:
        """The question over those posts that were searched."""
        return swapped(self.questions.find(question_id), self.profile, self.questions)

    def trajectories(self) -> Iterator[Trajectory]:
        return healed(self.run, self.run.trajectories())
