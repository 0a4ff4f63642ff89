"""TagPR's policy: the profile is searched once, and the reasoning is a row of steps in tags that say what each does."""

from .._util.prompts import fill
from ..envs.data.profile_controls import ProfileOf
from ..envs.tagpr_tags import TAGS
from .prompts import FOLDER
from .rag import RAG


def tagpr(profile: ProfileOf = "own") -> RAG:
    tags = "\n".join(f"<{tag}>{does}</{tag}>" for tag, does in TAGS.items())
    return RAG("tagpr", profile, instructions=fill("tagpr", FOLDER, tags=tags))
