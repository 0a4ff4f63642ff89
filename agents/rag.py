"""One-shot retrieval: the question is the query, and what it finds stands in the prompt."""

from typing import Any

from ..envs.data.profile_controls import ProfileOf
from ..envs.episode import Episode
from ..envs.question import Question
from ..envs.retrieval import Retriever, make_retriever
from .pr2 import PR2


class RAG(PR2):
    """Searches once, before the model's only turn, which the instructions describe."""

    def __init__(
        self, name: str = "rag", profile: ProfileOf = "own", retriever: Retriever | None = None, instructions: str = ""
    ) -> None:
        self.name = name
        self.profile = profile
        self.retriever = retriever
        self.instructions = instructions

    def begin(self, question: Question, **options: Any) -> Episode:
        return Episode(
            question, **(options | {"max_searches": 0, "initial_search": True, "instructions": self.instructions})
        )


def rag() -> RAG:
    return RAG()


def rag_random() -> RAG:
    """The control with another user's profile: what a searched history is worth when it is the wrong one."""
    return RAG("rag-random", profile="random")


def recency() -> RAG:
    """The control that shows the latest posts, whatever the question."""
    return RAG("recency", retriever=make_retriever("recency"))
