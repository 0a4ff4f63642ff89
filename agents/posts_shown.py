"""The posts that a transcript shows, for scripts that play."""

import re
from collections.abc import Sequence

from ..envs.trajectory import Segment

_POST = re.compile(r"^\d+\. (.*)$", re.MULTILINE)
_ID = re.compile(r"\(([^)]*)\) ")


def posts_shown(segments: Sequence[Segment]) -> list[str]:
    """Each as it is shown, in order: with its id where posts have ids, and what is known of it."""
    return [post for segment in segments if segment.author == "environment" for post in _POST.findall(segment.text)]


def id_of(post: str) -> str | None:
    """The id that a post begins with, where posts are shown with their ids."""
    named = _ID.match(post)
    return named[1] if named else None
