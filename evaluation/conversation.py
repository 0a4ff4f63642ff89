"""The place of a document in its conversation, for pages and games."""

from ..envs.question import Profile
from ..errors import DataError

REACH = 3  # documents before and after one


def places_around(profile: Profile, document_id: str) -> list[int]:
    """The places of a document and of its neighbours in the same session."""
    documents = profile.documents
    place = next((place for place, document in enumerate(documents) if document.id == document_id), None)
    if place is None:
        raise DataError(f"the profile of {profile.user_id!r} has no document {document_id!r}")
    near = range(max(0, place - REACH), min(len(documents), place + REACH + 1))
    return [at for at in near if documents[at].session == documents[place].session]
