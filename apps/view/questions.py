"""The questions of trajectories, loaded on demand."""

from threading import Lock
from typing import Any, cast, get_args

from ...agents.agent import AGENTS, make_agent
from ...envs.data import QuestionSet, load_questions
from ...envs.data.profile_controls import ProfileOf, swapped
from ...envs.question import Question
from ...envs.trajectory import Trajectory
from ...errors import DataError, ProfileGymError
from .trust import is_trusted, is_trusted_data


class Questions:
    """Questions of the run's data set and of others. A data set that cannot be loaded is not tried again."""

    def __init__(self, default: str, profile: ProfileOf | None = None) -> None:
        """`profile`: whose posts all episodes of the run searched, if its settings say so."""
        self._default = default
        self._profile = profile
        self._sets: dict[str, QuestionSet | DataError] = {}
        self._lock = Lock()

    def find(self, trajectory: Trajectory) -> Question:
        """With the profile of the user who asks."""
        return self.set_of(trajectory).find(trajectory.question_id)

    def searched(self, trajectory: Trajectory) -> Question:
        """With the profile that was searched, which may be another user's as a control."""
        return swapped(self.find(trajectory), self.profile_of(trajectory), self.set_of(trajectory))

    def profile_of(self, trajectory: Trajectory) -> ProfileOf:
        """Whose posts were searched: as the branch says, else the run, else the agent."""
        changed: Any = (trajectory.parent or {}).get("profile")
        if changed in get_args(ProfileOf):
            return cast(ProfileOf, changed)
        return self._profile or _profile_of(trajectory.agent or "pr2")

    def set_of(self, trajectory: Trajectory) -> QuestionSet:
        """The data set that it names, else the run's."""
        return self.load(trajectory.data or self._default)

    def load(self, spec: str) -> QuestionSet:
        with self._lock:
            if spec not in self._sets:
                self._sets[spec] = _loaded(spec)
            found = self._sets[spec]
        if isinstance(found, DataError):
            raise found
        return found


def _profile_of(agent: str) -> ProfileOf:
    agent = agent.partition("+")[0]
    return make_agent(agent).profile if is_trusted(agent, AGENTS) else "own"


def _loaded(spec: str) -> QuestionSet | DataError:
    if not is_trusted_data(spec):
        return DataError(f"no data set {spec!r} is registered, and what a run's files name as code is not run here")
    try:
        return load_questions(spec)
    except (ProfileGymError, OSError, ValueError) as error:
        return DataError(f"the data {spec!r} cannot be loaded here: {error}")
