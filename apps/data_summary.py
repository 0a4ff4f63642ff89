"""Counts over the questions of a data set. Memory grows with users, not with documents."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from itertools import accumulate

from ..envs.data.leaks import EVIDENCE, evidence_of
from ..envs.question import Question

_BARS = " ▁▂▃▄▅▆▇█"
_BINS = 24
_EXAMPLES = 3


class Spread:
    """A distribution of whole numbers."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, value: int) -> None:
        self._counts[value] += 1

    def at(self, share: float) -> int:
        """The smallest value that at least this share of all values does not exceed."""
        values = sorted(self._counts)
        totals = list(accumulate(self._counts[value] for value in values))
        return values[bisect_left(totals, share * totals[-1])]

    def bars(self) -> str:
        """A small histogram; the last bar holds everything beyond 99 %."""
        low, high = self.at(0), self.at(0.99)
        bins = min(_BINS, high - low + 1)
        heights = [0] * bins
        for value, count in self._counts.items():
            heights[min(bins - 1, (value - low) * bins // (high - low + 1))] += count
        return "".join(_BARS[-(-height * 8 // max(heights))] for height in heights)

    def as_dict(self) -> dict[str, int]:
        return {"min": self.at(0), "median": self.at(0.5), "p90": self.at(0.9), "max": self.at(1)}


@dataclass(frozen=True, slots=True)
class Problem:
    """A warning about a data set, or an error that makes it unusable."""

    kind: str  # error or warning
    what: str
    count: int
    examples: tuple[str, ...] = ()


class Summary:
    """Sizes, distributions and warnings."""

    def __init__(self, spec: str) -> None:
        self.spec = spec
        self.questions = 0
        self.left_out: Counter[str] = Counter()
        self.hops: Counter[str] = Counter()
        self.categories: Counter[str] = Counter()
        self.history: Counter[str] = Counter()
        self.spreads: dict[str, Spread] = {}
        self._profile_sizes: dict[str, int] = {}
        self._asked: set[int] = set()  # hashes of user and text
        self._warnings: dict[str, list[str]] = {}

    @property
    def users(self) -> int:
        return len(self._profile_sizes)

    @property
    def documents(self) -> int:
        """Documents of each user, counted once: in the largest profile of the user."""
        return sum(self._profile_sizes.values())

    def add(self, question: Question) -> None:
        self.questions += 1
        self.left_out.update(question.profile.left_out)
        if question.rubric.hops is not None:
            self.hops[str(question.rubric.hops)] += 1
        if question.category is not None:
            self.categories[question.category] += 1
        if question.rubric.history is not None:
            self.history[question.rubric.history] += 1
        self._spread("words in a question", len(question.text.split()))
        if question.rubric.aspects:
            self._spread("aspects of a question", len(question.rubric.aspects))
        self._check_question(question)
        self._add_profile(question)

    def _add_profile(self, question: Question) -> None:
        profile = question.profile
        known = self._profile_sizes.get(profile.user_id)
        self._profile_sizes[profile.user_id] = max(known or 0, len(profile))
        self._spread("documents in a profile", len(profile))
        if known is None:
            self._check_profile(question)
            for document in profile.documents:
                self._spread("words in a document", len(document.text.split()))

    def _check_question(self, question: Question) -> None:
        rubric = question.rubric
        asked = hash((question.user_id, question.text))
        self._warn_if(not question.profile.documents, "questions with an empty profile", question)
        self._warn_if(not rubric.aspects and rubric.reference is None, "questions with nothing to score with", question)
        self._warn_if(asked in self._asked, "questions that their user asked before, word by word", question)
        self._asked.add(asked)
        self._check_evidence(question)

    def _check_profile(self, question: Question) -> None:
        """Once a user, and named by the first question."""
        texts = [document.text for document in question.profile.documents]
        self._warn_if(not all(map(str.strip, texts)), "profiles with a document without text", question)
        self._warn_if(len(set(texts)) < len(texts), "profiles that hold one text twice", question)

    def _check_evidence(self, question: Question) -> None:
        """Documents that aspects name: those left out as leaks, and those that there never were."""
        unresolved = {name for aspect in question.rubric.aspects for name in aspect.unresolved}
        lacking = sorted(evidence_of(question) - question.profile.by_id.keys() | unresolved)
        leaks = {why: count for why, count in question.profile.left_out.items() if why.endswith(EVIDENCE)}
        named = f"{question.id}: {', '.join(lacking)}"
        for why in leaks:
            self._warn(f"questions with evidence left out as a leak ({why.removesuffix(EVIDENCE)})", named)
        if len(lacking) > sum(leaks.values()):
            self._warn("questions with an aspect that names a document which the profile never had", named)

    def _warn_if(self, holds: bool, what: str, question: Question) -> None:
        if holds:
            self._warn(what, question.id)

    def _warn(self, what: str, example: str) -> None:
        self._warnings.setdefault(what, []).append(example)

    def _spread(self, name: str, value: int) -> None:
        self.spreads.setdefault(name, Spread()).add(value)

    def problems(self) -> list[Problem]:
        return [Problem("warning", what, len(ids), tuple(ids[:_EXAMPLES])) for what, ids in self._warnings.items()]

    def as_dict(self) -> dict[str, object]:
        return {
            "data": self.spec,
            "questions": self.questions,
            "users": self.users,
            "documents": self.documents,
            "left_out": dict(self.left_out),
            "hops": dict(self.hops),
            "categories": dict(self.categories),
            "history": dict(self.history),
            "spreads": {name: spread.as_dict() for name, spread in self.spreads.items()},
        }
