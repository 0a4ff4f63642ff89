"""A retriever of your own: documents that share the most three-letter pieces with the query.

profilegym check retriever examples/my_retriever.py:make
"""

from collections import Counter

from profilegym import BaseRetriever, Document, Hit, Profile


class Trigrams(BaseRetriever):
    """The share of the query's pieces that a document has. No index, so nothing can go stale."""

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        wanted = pieces(query)
        scored = [Hit(document, overlap(wanted, document)) for document in profile.documents]
        found = [hit for hit in scored if hit.score > 0]
        return sorted(found, key=lambda hit: (-hit.score, hit.document.id))[:k]


def pieces(text: str) -> Counter[str]:
    spaced = f" {' '.join(text.lower().split())} " if text.strip() else ""
    return Counter(spaced[start : start + 3] for start in range(len(spaced) - 2))


def overlap(wanted: Counter[str], document: Document) -> float:
    shared = wanted & pieces(document.text)
    return shared.total() / max(1, wanted.total())


def make() -> Trigrams:
    return Trigrams()
