"""Most-recent-first retriever, a control that ignores the query."""

from ..dates import in_time
from ..question import Profile
from .retriever import BaseRetriever, Hit, check_k


class Recency(BaseRetriever):
    """Ranks by date if every document has one, else by position, as profiles are in time order."""

    runs_inline = True  # faster than a call in a thread

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        check_k(k)
        if not query.strip():
            return []
        return [Hit(profile.documents[i], 1 / rank) for rank, i in enumerate(_latest(profile)[:k], start=1)]


def _latest(profile: Profile) -> list[int]:
    positions = range(len(profile))
    dates = [document.date for document in profile.documents]
    if None in dates:
        return list(reversed(positions))
    times = [in_time(date) for date in dates if date is not None]
    return sorted(positions, key=lambda i: (times[i], i), reverse=True)
