"""The interleaving policy: reasons, searches the asker's own history when it sees fit, and answers."""

from typing import Any

from ..envs.data.profile_controls import ProfileOf
from ..envs.episode import Episode
from ..envs.question import Question
from ..envs.retrieval import Retriever
from .agent import ModelHandle
from .models.model import Turn


class PR2:
    """Whatever the model writes next; the environment does what it asks for."""

    name = "pr2"
    profile: ProfileOf = "own"
    retriever: Retriever | None = None
    max_concurrency: int | None = None
    instructions: str = ""

    def begin(self, question: Question, **options: Any) -> Episode:
        return Episode(question, **options)

    async def act(self, episode: Episode, speaker: ModelHandle) -> Turn:
        return await speaker.turn()


class Unpersonalised(PR2):
    """The baseline: the same policy and prompt, without searches and without the profile."""

    name = "none"

    def __init__(self, instructions: str = "") -> None:
        self.instructions = instructions

    def begin(self, question: Question, **options: Any) -> Episode:
        return Episode(question, **(options | {"kind": "baseline", "instructions": self.instructions}))


def none() -> Unpersonalised:
    return Unpersonalised()
