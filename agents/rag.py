"""One-shot retrieval: the question is the query, and the prompt shows the hits. RAG, its controls, PrLM and TagPR."""

from typing import Any

from .._util.prompts import fill, template
from ..envs.data.profile_controls import ProfileOf
from ..envs.episode import Episode
from ..envs.question import Question
from ..envs.retrieval import Retriever, make_retriever
from ..envs.tagpr_tags import TAGS
from .agent import BaseAgent
from .prompts import FOLDER


class RAG(BaseAgent):
    """Searches once, before the model's only turn."""

    def __init__(
        self, name: str = "rag", profile: ProfileOf = "own", retriever: Retriever | None = None, instructions: str = ""
    ) -> None:
        self.name = name
        self.profile = profile
        self.retriever = retriever
        self.instructions = instructions

    def begin(self, question: Question, **options: Any) -> Episode:
        own = {"max_searches": 0, "initial_search": True, "instructions": self.instructions}
        return super().begin(question, **(options | own))


def rag() -> RAG:
    return RAG()


def rag_random() -> RAG:
    """A control: searches another user's profile."""
    return RAG("rag-random", profile="random")


def recency() -> RAG:
    """A control: shows the latest posts, whatever the question."""
    return RAG("recency", retriever=make_retriever("recency"))


def prlm(profile: ProfileOf = "own") -> RAG:
    """PrLM's policy: reasons over the posts before it answers."""
    return RAG("prlm", profile, instructions=template("prlm", FOLDER))


def tagpr(profile: ProfileOf = "own") -> RAG:
    """TagPR's policy: reasons in steps, each in a tag that names its purpose."""
    tags = "\n".join(f"<{tag}>{purpose}</{tag}>" for tag, purpose in TAGS.items())
    return RAG("tagpr", profile, instructions=fill("tagpr", FOLDER, tags=tags))
