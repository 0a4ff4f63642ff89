"""The kit passes what is right, and each check alone catches the fault that it is for."""

import json
import math
import random
import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from profilegym import Document, Hit, Profile, Retriever, make_retriever
from profilegym.apps.check import check_retriever
from profilegym.envs.retrieval import BaseRetriever
from profilegym.testing import RetrieverContract
from profilegym.testing import retriever_support as support
from profilegym.testing.kit import ContractViolation, examine
from profilegym.testing.retriever import CHECKS

EXAMPLE = f"{Path(__file__).parent.parent / 'examples' / 'my_retriever.py'}:make"


class Words(BaseRetriever):
    """Right in every respect; each retriever below breaks one promise of it."""

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        return self.order(self.matches(profile, query))[:k]

    def matches(self, profile: Profile, query: str) -> list[Hit]:
        wanted = Counter(query.split())
        scores = [(document, (wanted & Counter(document.text.split())).total()) for document in profile.documents]
        return [Hit(document, float(score)) for document, score in scores if score]

    def order(self, hits: list[Hit]) -> list[Hit]:
        return sorted(hits, key=lambda hit: (-hit.score, hit.document.id))


class CachesByIds(Words):
    def __init__(self) -> None:
        self.profiles: dict[object, Profile] = {}

    def key(self, profile: Profile) -> object:
        return tuple(document.id for document in profile.documents)

    def matches(self, profile: Profile, query: str) -> list[Hit]:
        return super().matches(self.profiles.setdefault(self.key(profile), profile), query)


class CachesByUser(CachesByIds):
    def key(self, profile: Profile) -> object:
        return profile.user_id


class RanksByIds(CachesByIds):
    """The order comes from the old index, the documents from the new profile."""

    def matches(self, profile: Profile, query: str) -> list[Hit]:
        old = self.profiles.setdefault(self.key(profile), profile)
        places = {document: place for place, document in enumerate(old.documents)}
        return [Hit(profile.documents[places[d]], score) for d, score in Words.matches(self, old, query)]


class RanksByUser(RanksByIds):
    def key(self, profile: Profile) -> object:
        return profile.user_id


class FindsNothing(Words):
    def matches(self, profile: Profile, query: str) -> list[Hit]:
        return []


class Unseeded(Words):
    def matches(self, profile: Profile, query: str) -> list[Hit]:
        return [Hit(hit.document, random.random()) for hit in super().matches(profile, query)]


class WorstFirst(Words):
    def order(self, hits: list[Hit]) -> list[Hit]:
        return sorted(hits, key=lambda hit: (hit.score, hit.document.id))


class EarliestOfTiesFirst(Words):
    def order(self, hits: list[Hit]) -> list[Hit]:
        return sorted(hits, key=lambda hit: -hit.score)


class LatestOfTiesFirst(EarliestOfTiesFirst):
    def order(self, hits: list[Hit]) -> list[Hit]:
        return super().order(hits[::-1])


class SortsIdsAsNumbers(Words):
    def order(self, hits: list[Hit]) -> list[Hit]:
        return sorted(hits, key=lambda hit: (-hit.score, int(hit.document.id.rpartition("-")[2])))


class SortsAfterTheCut(EarliestOfTiesFirst):
    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        return Words.order(self, super().search(profile, query, k))


class Infinite(Words):
    score: float = math.inf

    def order(self, hits: list[Hit]) -> list[Hit]:
        return super().order([Hit(hit.document, self.score) for hit in hits])


class NotANumber(Infinite):
    score = math.nan


class NumpyScores(Infinite):
    score = np.float32(0.5)  # type: ignore[assignment]


class Repeats(Words):
    def order(self, hits: list[Hit]) -> list[Hit]:
        ordered = super().order(hits)
        return [*ordered[:1], *ordered[:1], *ordered[2:]] if len(ordered) > 1 else ordered


class OneTooMany(Words):
    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        return super().search(profile, query, k + 1)


class NeedsEnough(Words):
    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        if profile.documents and k > len(profile):
            raise IndexError(f"kth(={k}) out of bounds ({len(profile)})")
        return super().search(profile, query, k)


class Pads(Words):
    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        hits = super().search(profile, query, k)
        return hits + [Hit(hit.document, 0.0) for hit in hits] if k > len(profile) else hits


class DividesByLength(Words):
    def matches(self, profile: Profile, query: str) -> list[Hit]:
        weight = 1 / len(profile)
        return [Hit(hit.document, hit.score * weight) for hit in super().matches(profile, query)]


class ConsolesNewcomers(Words):
    def matches(self, profile: Profile, query: str) -> list[Hit]:
        return super().matches(profile, query) if profile.documents else [Hit(Document("0", "nothing yet"), 1.0)]


class ShowsAllForNothing(Words):
    def matches(self, profile: Profile, query: str) -> list[Hit]:
        return super().matches(profile, query) if query.strip() else [Hit(d, 1.0) for d in profile.documents]


class Refuses(Words):
    """Raises for some queries or documents."""

    def __init__(self, query: Callable[[str], object] = bool, text: Callable[[str], object] = bool) -> None:
        self.check_query, self.check_text = query, text

    def matches(self, profile: Profile, query: str) -> list[Hit]:
        self.check_query(query)
        for document in profile.documents:
            self.check_text(document.text)
        return super().matches(profile, query)


def refuse(fault: Callable[[str], bool]) -> Callable[[str], object]:
    def check(text: str) -> None:
        if fault(text):
            raise ValueError(f"cannot read {text[:20]!r}")

    return check


class LastFirst(Words):
    def search_many(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[list[Hit]]:
        return super().search_many(requests, k)[::-1]


class MergesRepeats(Words):
    def search_many(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[list[Hit]]:
        return super().search_many(list({query: (profile, query) for profile, query in requests}.values()), k)


class Unbatched:
    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        return Words().search(profile, query, k)


class Shares(Words):
    """Keeps the profile on itself for a moment in which other threads run."""

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        self.profile = profile
        threading.Event().wait(0.001)
        return super().search(self.profile, query, k)


FAULTS = [
    (CachesByIds, "own documents", "'own-bo' never wrote"),
    (RanksByIds, "own documents", "from an index of other documents"),
    (CachesByUser, "changed profile", "'changing' never wrote"),
    (RanksByUser, "changed profile", "from an index of other documents"),
    (FindsNothing, "finds something", "found nothing"),
    (Unseeded, "deterministic", "first .*; then "),
    (WorstFirst, "best first", r"\(4.0\) before .*\(5.0\)"),
    (EarliestOfTiesFirst, "ties", "which has the lesser id"),
    (LatestOfTiesFirst, "ties", "which has the lesser id"),
    (SortsIdsAsNumbers, "ties", "which has the lesser id"),
    (SortsAfterTheCut, "ties", "which has the lesser id"),
    (Infinite, "finite scores", r"with inf \(float\)"),
    (NotANumber, "finite scores", r"with nan \(float\)"),
    (NumpyScores, "finite scores", r"\(float32\)"),
    (Repeats, "no document twice", "returned "),
    (OneTooMany, "at most k", r"k=1\) returned 2 hits"),
    (NeedsEnough, "k beyond the profile", r"k=5\) raised IndexError: 'kth\(=5\)"),
    (Pads, "k beyond the profile", "hits"),
    (DividesByLength, "empty profile", "raised ZeroDivisionError"),
    (ConsolesNewcomers, "empty profile", "returned 1 hits, first 0 'nothing yet'"),
    (ShowsAllForNothing, "empty query", "''.*returned 5 hits"),
    (lambda: Refuses(refuse(lambda query: not query.strip())), "empty query", "raised ValueError"),
    (
        lambda: Refuses(refuse(lambda query: any(unicodedata.category(letter) == "Lo" for letter in query))),
        "non-Latin queries",
        "我的狗",
    ),
    (lambda: Refuses(refuse(lambda query: "\x00" in query)), "control character queries", r"'\\x00'"),
    (lambda: Refuses(str.encode), "lone surrogate queries", r"'\\ud83d'.*UnicodeEncodeError"),
    (lambda: Refuses(refuse(lambda query: '"' in query)), "operator queries", '"tea'),
    (lambda: Refuses(refuse(lambda query: len(query) > 9999)), "huge queries", "raised ValueError"),
    (lambda: Refuses(text=str.encode), "odd documents", "UnicodeEncodeError"),
    (LastFirst, "batch equals single", "search .*; search_many "),
    (MergesRepeats, "batch equals single", "requests returned . lists"),
    (Unbatched, "batch equals single", "has no attribute 'search_many'"),
    (Shares, "threads", "alone .*; among threads "),
]


def broken_checks(retriever: Retriever) -> dict[str, str]:
    return {
        found.check.name: found.counterexample
        for found in examine(retriever, CHECKS)
        if found.counterexample is not None
    }


@pytest.mark.parametrize(
    "spec",
    [
        "bm25",
        "recency",
        "random",
        "random:seed=9",
        "hybrid:bm25+recency",
        "hybrid:random+recency,weights=2+1",
        "bm25:context=2,dates=true",
        "bm25:window=1",
        "hybrid:bm25+recency,context=1,window=2",
    ],
)
def test_the_shipped_retrievers_keep_every_promise(spec: str) -> None:
    assert broken_checks(make_retriever(spec)) == {}


@pytest.mark.parametrize(("make", "name", "counterexample"), FAULTS)
def test_one_fault_is_caught_by_the_check_for_it_alone(
    make: Callable[[], Retriever], name: str, counterexample: str
) -> None:
    found = broken_checks(make())

    assert list(found) == [name]
    assert re.search(counterexample, found[name])


def test_every_check_has_a_fault_that_it_catches() -> None:
    assert {name for _, name, _ in FAULTS} == {check.name for check in CHECKS}


@pytest.mark.parametrize("answer", [None, {"0": 1.0}, ["ann-1"], [("ann-1", 1.0)], [Hit(Document("1", ""), "high")]])  # type: ignore[arg-type]
def test_what_is_no_list_of_hits_is_shown(answer: object) -> None:
    class Misshapen(BaseRetriever):
        def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
            return answer  # type: ignore[return-value]

    found = broken_checks(Misshapen())

    assert "is no" in found["finds something"]
    assert "Hit(document, score)" in found["finds something"]


def test_threads_that_never_end_are_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "_PATIENCE", 0.01)
    release = threading.Event()

    with pytest.raises(ContractViolation, match="8 of 8"):
        support.in_threads(lambda _: release.wait(30))
    release.set()


@pytest.mark.parametrize(
    ("hits", "others", "expected"),
    [
        ([("a", 1.0), ("b", 0.5)], [("a", 1.0 + 1e-7), ("b", 0.5)], True),
        ([("a", 1.0), ("b", 1.0 - 1e-7)], [("b", 1.0), ("a", 1.0 - 1e-7)], True),
        ([("a", 1.0), ("b", 0.5)], [("a", 1.0), ("c", 0.5 + 1e-7)], True),
        ([("a", 1.0), ("b", 0.5)], [("b", 1.0), ("a", 0.5)], False),
        ([("a", 1.0), ("b", 0.5)], [("c", 1.0), ("b", 0.5)], False),
        ([("a", 1.0), ("b", 0.5)], [("a", 1.0), ("b", 0.51)], False),
        ([("a", 1.0)], [("a", 1.0), ("b", 0.5)], False),
    ],
)
def test_answers_are_the_same_when_only_near_ties_change_places(
    hits: list[tuple[str, float]], others: list[tuple[str, float]], expected: bool
) -> None:
    one, other = ([Hit(Document(name, name), score) for name, score in found] for found in (hits, others))

    assert support._equal(one, other) == expected


def test_the_report_card_of_a_good_retriever(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_retriever(EXAMPLE) == 0

    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count("✓") == len(CHECKS)
    assert "5 of 5 planted documents were in the top 3" in printed
    assert f"Grade: {len(CHECKS)} of {len(CHECKS)} promises kept. Fit for training" in printed


def test_the_report_card_of_a_broken_retriever(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("profilegym.apps.check.make_retriever", lambda _: OneTooMany())

    assert check_retriever("mine [bold]") == 1

    printed = " ".join(capsys.readouterr().out.split())
    assert "Report card of the retriever mine [bold]" in printed
    assert "✗ at most k A search for k documents returns at most k. But search('at-most' with 12 documents" in printed
    assert "To fix it: Cut the list: hits[:k]." in printed
    assert printed.endswith(f"Grade: {len(CHECKS) - 1} of {len(CHECKS)} promises kept. Not fit for use yet: at most k.")


def test_the_report_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_retriever("bm25", as_json=True) == 0

    report = json.loads(capsys.readouterr().out)
    assert report["passed"] is True
    assert [check["name"] for check in report["checks"]] == [check.name for check in CHECKS]
    assert report["beside_bm25"]["agreement"] == 1
    assert report["beside_bm25"]["found"] == report["beside_bm25"]["planted"] == 5


class TestMyRetriever(RetrieverContract):
    """As a plug-in's own tests would have it."""

    def make(self) -> Retriever:
        retriever: Retriever = make_retriever(EXAMPLE)
        return retriever


@pytest.mark.slow
class TestDense(RetrieverContract):
    def make(self) -> Retriever:
        pytest.importorskip("sentence_transformers")
        retriever: Retriever = make_retriever("dense:cache=false")
        return retriever
