"""PrLM's policy: the profile is searched once, and reasoned about before the answer."""

from ..envs.data.swap import ProfileOf
from ..envs.prompts import template
from .prompts import FOLDER
from .rag import RAG


def prlm(profile: ProfileOf = "own") -> RAG:
    return RAG("prlm", profile, guide=template("prlm", FOLDER))
