"""A session of `profilegym play`: the questions of a data set, and the games played on them."""

from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple

from ...agents.agent import make_agent
from ...agents.rollout import Job
from ...envs.data import load_questions
from ...envs.data.profile_controls import swapped
from ...envs.retrieval import make_retriever
from ...envs.trajectory import Trajectory, TrajectoryWriter
from ...errors import DataError, OptionError
from ...evaluation.evaluate import Settings, reward_for
from .game import Game, GameSetup
from .policy import LazyModel, Policy


class QuestionRow(NamedTuple):
    """A question in the list."""

    id: str
    user_id: str
    text: str

    def has(self, words: str) -> bool:
        """Whether its id, user or text contains every one of the words."""
        text = f"{self.id} {self.user_id} {self.text}".casefold()
        return all(word in text for word in words.casefold().split())


class PlaySession:
    """Games on one data set. Each finished game is appended to `trajectories.jsonl`; the last line of a game counts.

    `user` limits the list to that user's questions; `question_id` chooses the question.
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
        self._model = LazyModel(settings.model)
        policy = Policy(self._agent, self._model, settings.sampling)
        self._setup = GameSetup(make_retriever(settings.retriever), reward_for(settings), policy, self._keep)

    def rows(self) -> Iterator[QuestionRow]:
        """The questions of the list."""
        for question in self.questions:
            if self.user in (None, question.user_id):
                yield QuestionRow(question.id, question.user_id, " ".join(question.text.split()))

    def first(self) -> str:
        """The id of the first question of the list."""
        for asked in self.rows():
            return asked.id
        people = ", ".join(sorted({question.user_id for question in self.questions[:20]})[:3])
        raise DataError(f"no question by {self.user!r} in {self.questions.spec}; users are, for example, {people}")

    def check(self) -> None:
        """Raises if the question or the user does not exist."""
        if self.question_id is None:
            self.first()
            return
        asker = self.questions.find(self.question_id).user_id
        if self.user not in (None, asker):
            raise OptionError(f"question {self.question_id!r} is asked by {asker!r}, not by {self.user!r}")

    @property
    def saved_games(self) -> str:
        """How many games were saved, and where."""
        count = len(self.saved)
        if count == 0:
            return "No game is over, so nothing is saved."
        return f"{count} game{' is' if count == 1 else 's are'} saved in {self.file}"

    async def begin(self, question_id: str) -> Game:
        question = swapped(self.questions.find(question_id), self._agent.profile, self.questions)
        job = Job(question, self._agent, data=self.questions.spec)
        name = f"{question.id}:play:{token_hex(4)}"  # a question is played any number of times
        seed = job.seed(self.settings.first_seed)
        return await Game.begin(question, self._setup, id=name, data=job.data, seed=seed, **self.settings.options)

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
