"""PrLM's policy: the profile is searched once, and reasoned about before the answer."""

from .._util.prompts import template
from ..envs.data.profile_controls import ProfileOf
from .prompts import FOLDER
from .rag import RAG


def prlm(profile: ProfileOf = "own") -> RAG:
    return RAG("prlm", profile, instructions=template("prlm", FOLDER))
