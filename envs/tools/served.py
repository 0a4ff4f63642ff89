"""What a tool on a server returns: documents by id, a text, or a refusal."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from ...errors import BadArgument, ToolError
from ..question import Document, Profile
from ..retrieval import Hit
from .tool import Result

REFUSAL_CHARS = 500  # of a refusal that the policy reads


def served_result(content: Mapping[str, Any], profile: Profile) -> Result | None:
    """The result that an object states; None if it states none of ours.

    `{"documents": [{"id": …, "text"?: …, "score"?: …}, …]}`, `{"text": …}` or `{"refused": "what to give instead."}`
    """
    match content:
        case {"documents": list(found)}:
            return _documents(found, profile)
        case {"text": str(text)} if len(content) == 1:
            return text
        case {"refused": str(reason)} if len(content) == 1:
            raise BadArgument(reason[:REFUSAL_CHARS])
        case {"documents": other}:
            raise ToolError(f"'documents' must be a list, each with an 'id', not {other!r:.200}")
    return None


def _documents(found: list[Any], profile: Profile) -> Result:
    documents = [_own(one, profile) for one in found]
    if len(set(documents)) < len(documents):
        raise ToolError(f"each document must be returned once: {found!r:.200}")
    scores = [one.get("score") for one in found]
    if all(score is None for score in scores):
        return documents
    if not all(isinstance(score, int | float) and isfinite(score) for score in scores):
        raise ToolError(f"each document needs a score, or none: {scores!r:.200}")
    return [Hit(document, float(score)) for document, score in zip(documents, scores, strict=True)]


def _own(found: Any, profile: Profile) -> Document:
    """The document of the profile that was found. Where its text is given too, it must be the same."""
    match found:
        case {"id": str() | int() as document_id}:
            own = profile.by_id.get(str(document_id))
        case _:
            raise ToolError(f"a document needs an 'id': {found!r:.200}")
    if own is None or found.get("text") not in (None, own.text):
        raise ToolError(
            f"{found!r:.200} is no document of user {profile.user_id!r}: the server must read only that user's"
        )
    return own
