"""What a person sits down with: questions to pick from, and the table that they are played at."""

from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple

from ...agents.agent import make_agent
from ...agents.rollout import Job
from ...envs.chat import Sampling
from ...envs.data import load_questions
from ...envs.data.profile_controls import swapped
from ...envs.retrieval import make_retriever
from ...envs.trajectory import Trajectory, TrajectoryWriter
from ...errors import DataError, OptionError
from ...evaluation.evaluate import Settings, reward_for
from .game import Game, Table
from .policy import LateModel, Policy


class Asked(NamedTuple):
    """A question to pick."""

    id: str
    user_id: str
    text: str

    def has(self, words: str) -> bool:
        """Whether it, or who asks it, has every one of some words or parts of words."""
        where = f"{self.id} {self.user_id} {self.text}".casefold()
        return all(word in where for word in words.casefold().split())


class Sitting:
    """Games on one data set; each that is over is kept in `trajectories.jsonl`, and a later line of it counts.

    With `user` only that person's questions are there to pick; with `question_id` it is picked already.
    """

    def __init__(
        self, settings: Settings, out: Path, *, question_id: str | None = None, user: str | None = None
    ) -> None:
        self.settings = settings
        self.question_id, self.user = question_id, user
        self.saved: set[str] = set()
        self.file = out / "trajectories.jsonl"
        self.questions = load_questions(settings.data)
        self._agent = make_agent(settings.agent)
        self._model = LateModel(settings.model)
        sampling = Sampling(settings.temperature, settings.top_p, settings.turn_tokens)
        policy = Policy(self._agent, self._model, sampling)
        self._table = Table(make_retriever(settings.retriever), reward_for(settings), policy, self._keep)

    def asked(self) -> Iterator[Asked]:
        """The questions that can be picked."""
        for question in self.questions:
            if self.user in (None, question.user_id):
                yield Asked(question.id, question.user_id, " ".join(question.text.split()))

    def first(self) -> str:
        """The id of the first of them."""
        for asked in self.asked():
            return asked.id
        people = ", ".join(sorted({question.user_id for question in self.questions[:20]})[:3])
        raise DataError(f"no question by {self.user!r} in {self.questions.spec}; people are named like: {people}")

    def check(self) -> None:
        """Raises where what was named is not there."""
        if self.question_id is None:
            self.first()
            return
        asker = self.questions.find(self.question_id).user_id
        if self.user not in (None, asker):
            raise OptionError(f"question {self.question_id!r} is asked by {asker!r}, not by {self.user!r}")

    @property
    def told(self) -> str:
        """What was kept, in words."""
        match len(self.saved):
            case 0:
                return "No game is over, so nothing is saved."
            case 1:
                return f"1 game is saved in {self.file}"
            case count:
                return f"{count} games are saved in {self.file}"

    async def begin(self, question_id: str) -> Game:
        question = swapped(self.questions.find(question_id), self._agent.profile, self.questions)
        job = Job(question, self._agent, data=self.questions.spec)
        name = f"{question.id}:play:{token_hex(4)}"  # a question is played any number of times
        seed = job.seed(self.settings.first_seed)
        return await Game.begin(question, self._table, id=name, data=job.data, seed=seed, **self.settings.options)

    async def close(self) -> None:
        await self._model.close()

    def _keep(self, trajectory: Trajectory) -> None:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with TrajectoryWriter(self.file) as writer:
                writer.write(trajectory)
        except OSError as error:
            raise OptionError(f"the game cannot be saved: {error}") from error
        self.saved.add(trajectory.id)
