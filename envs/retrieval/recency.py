"""The control that never reads the query."""

from ..question import Profile
from .retriever import BaseRetriever, Hit, check_k


class Recency(BaseRetriever):
    """Latest first: by date where every document has one, else by place, as profiles are in time order."""

    runs_inline = True  # faster than a detour through a thread

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        check_k(k)
        if not query.strip():
            return []
        return [Hit(profile.documents[place], 1 / rank) for rank, place in enumerate(_latest(profile)[:k], start=1)]


def _latest(profile: Profile) -> list[int]:
    places = range(len(profile))
    dates = [document.date for document in profile.documents]
    if None in dates:
        return list(reversed(places))
    return sorted(places, key=lambda place: (dates[place], place), reverse=True)  # ISO 8601 sorts as text
