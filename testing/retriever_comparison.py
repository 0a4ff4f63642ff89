"""Speed and overlap of a retriever beside bm25: information, not a check."""

import time
from dataclasses import dataclass
from statistics import fmean, median

from ..envs.question import Document, Profile
from ..envs.retrieval.bm25 import BM25
from ..envs.retrieval.retriever import Hit, Retriever
from .retriever_support import person, queries

_DEPTH = 10
_TOP = 3
_PLANTED = {  # question -> the document that answers it
    "which animals does my sister keep?": "My sister Odalys keeps bees on the roof of her house.",
    "what am I allergic to?": "The doctor says that I am allergic to walnuts.",
    "when is my wedding anniversary?": "We celebrate our wedding anniversary on the ninth of June.",
    "where did I study law?": "I studied law in Coimbra before I moved here.",
    "name of my first dog": "My first dog was called Bruno and feared thunder.",
}
_Timed = tuple[list[Hit], float]  # milliseconds


@dataclass(frozen=True, slots=True)
class Comparison:
    """`found`: planted documents in the top 3. `agreement`: the share of bm25's top 10 in this top 10."""

    planted: int
    found: int
    median_ms: float
    bm25_median_ms: float
    agreement: float


def compare(retriever: Retriever) -> Comparison:
    """Times each query once on an indexed profile; the two retrievers alternate in going first."""
    profile = _with_planted(person("compared", 100))
    asked = [*_PLANTED, *(query for n in range(10) for query in queries(person(f"asker-{n}")))]
    bm25 = BM25()
    for either in (retriever, bm25):
        either.search(profile, "an index is made for the first query", _DEPTH)
    ours: list[_Timed] = []
    theirs: list[_Timed] = []
    for place, query in enumerate(asked):
        turns = [(ours, retriever), (theirs, bm25)]
        for results, either in turns if place % 2 else reversed(turns):
            results.append(_timed(either, profile, query))
    return Comparison(
        planted=len(_PLANTED),
        found=sum(_answers(hits, query) for query, (hits, _) in zip(asked, ours, strict=True) if query in _PLANTED),
        median_ms=median(ms for _, ms in ours),
        bm25_median_ms=median(ms for _, ms in theirs),
        agreement=fmean(_overlap(a, b) for (a, _), (b, _) in zip(ours, theirs, strict=True) if b),
    )


def _with_planted(profile: Profile) -> Profile:
    planted = (Document(f"planted-{place}", text) for place, text in enumerate(_PLANTED.values()))
    return Profile(profile.user_id, (*profile.documents, *planted))


def _timed(retriever: Retriever, profile: Profile, query: str) -> _Timed:
    started = time.perf_counter()
    hits = retriever.search(profile, query, _DEPTH)
    return hits, 1000 * (time.perf_counter() - started)


def _answers(hits: list[Hit], query: str) -> bool:
    return _PLANTED[query] in [hit.document.text for hit in hits[:_TOP]]


def _overlap(hits: list[Hit], reference: list[Hit]) -> float:
    wanted = {hit.document for hit in reference}
    return len(wanted & {hit.document for hit in hits}) / len(wanted)
