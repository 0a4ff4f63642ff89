"""PrLM's policy: the profile is searched once, and reasoned about before the answer."""

from ..envs.prompts import template
from .prompts import FOLDER
from .rag import RAG


def prlm() -> RAG:
    return RAG("prlm", guide=template("prlm", FOLDER))
