"""The questions behind trajectories, loaded when one is asked for."""

from threading import Lock

from ...agents.agent import AGENTS, make_agent
from ...envs.data import QuestionSet, load_questions
from ...envs.data.swap import swapped
from ...envs.errors import DataError, ProfileGymError
from ...envs.question import Question
from ...envs.trajectory import Trajectory


class Questions:
    """Of any number of data sets. One that cannot be loaded is not tried again for every line that names it."""

    def __init__(self) -> None:
        self._sets: dict[str, QuestionSet | DataError] = {}
        self._lock = Lock()

    def find(self, trajectory: Trajectory) -> Question:
        """With the profile of the person who asked, whoever's was searched."""
        return self.set_of(trajectory).find(trajectory.question_id)

    def searched(self, trajectory: Trajectory) -> Question:
        """With the profile that was searched: some agents are given another's, as a control."""
        agent = trajectory.agent or "pr2"
        if agent.partition(":")[0] not in AGENTS.names():  # a name in a file never makes code run that it names
            return self.find(trajectory)
        return swapped(self.find(trajectory), make_agent(agent).profile, self.set_of(trajectory))

    def set_of(self, trajectory: Trajectory) -> QuestionSet:
        spec = trajectory.data or ""
        with self._lock:
            if spec not in self._sets:
                self._sets[spec] = _loaded(spec)
            found = self._sets[spec]
        if isinstance(found, DataError):
            raise found
        return found


def _loaded(spec: str) -> QuestionSet | DataError:
    try:
        return load_questions(spec)
    except (ProfileGymError, OSError, ValueError) as error:
        return DataError(f"the data {spec!r} cannot be loaded here: {error}")
