"""Statistics of the world: `python -m profilegym.studies.world [SPEC] [--json]`."""

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from statistics import mean
from time import perf_counter

from ..envs.question import Aspect, Question
from ..envs.retrieval import Retriever, make_retriever
from ..rewards.rubric import RubricJudge
from ..world.data import World, load
from ..world.data.names import NAME, SYLLABLES
from .page import print_numbers

Numbers = dict[str, float]
_TOP_K = 3


def run(spec: str = "seed=7,users=400") -> dict[str, Numbers]:
    """All statistics by name."""
    started = perf_counter()
    world = load("world", spec)
    questions = list(world)
    seconds = perf_counter() - started
    retriever = make_retriever("bm25")
    documents = sum(len(q.profile) for q in {q.user_id: q for q in questions}.values())
    numbers = {
        "documents / s": documents / seconds,
        "microseconds a score": _microseconds_a_score(questions),
        **_sizes(questions),
        **_answers(questions, retriever),
        **_retrieval(world, questions, retriever),
    }
    return {f"world:{spec}": numbers}


def _microseconds_a_score(questions: list[Question]) -> float:
    """The fastest of five passes."""
    judge, seconds = RubricJudge(), list[float]()
    for _ in range(5):
        started = perf_counter()
        for question in questions:
            judge.verdict(question, question.rubric.reference or "")
        seconds.append(perf_counter() - started)
    return min(seconds) / len(questions) * 1e6


def _sizes(questions: list[Question]) -> Numbers:
    documents = [d for q in {q.user_id: q for q in questions}.values() for d in q.profile.documents]
    lengths = {
        "words a document": [d.text for d in documents],
        "words a question": [q.text for q in questions],
        "words a narrative": [q.rubric.narrative for q in questions],
        "words a reference": [q.rubric.reference or "" for q in questions],
    }
    numbers: Numbers = {}
    for name, texts in lengths.items():
        words = sorted(len(text.split()) for text in texts)
        numbers |= {f"{name}, least": words[0], f"{name}, mean": mean(words), f"{name}, most": words[-1]}
    numbers["distinct words, syllables of names included"] = len(distinct_words(questions))
    aspects = Counter(len(q.rubric.aspects) for q in questions)
    return numbers | {f"share with {n} aspects": aspects[n] / len(questions) for n in sorted(aspects)}


def distinct_words(questions: Iterable[Question]) -> set[str]:
    """All words of questions, documents and rubrics; names count as their syllables."""
    words = set(SYLLABLES)
    for question in questions:
        rubric = question.rubric
        texts = [question.text, rubric.narrative, rubric.reference or "", *(d.text for d in question.profile.documents)]
        texts += [text for aspect in rubric.aspects for text in (aspect.title, aspect.reason)]
        words.update(re.findall(r"[a-z']+", NAME.sub("", " ".join(texts)).lower()))
    return words


def _answers(questions: list[Question], retriever: Retriever) -> Numbers:
    """The scores of simple answers."""
    judge, numbers = RubricJudge(), {}
    for hops, group in _by_hops(questions):
        someone_else = dict(zip((q.id for q in group), group[-2:] + group[:-2], strict=True))
        ways: dict[str, Callable[[Question], str]] = {
            "the reference": lambda q: q.rubric.reference or "",
            "what is true for everybody": lambda q: _values(a for a in q.rubric.aspects if not a.documents),
            "another person's reference": lambda q, others=someone_else: others[q.id].rubric.reference,  # type: ignore[misc]
            "the best hit for the question, copied": lambda q: _best_hit(q, retriever),
            "values of the profile that do not hold": _misled,
            "right values beside those": lambda q: _values(q.rubric.aspects) + " " + _misled(q),
            "every value there is": lambda q: " ".join(p for a in q.rubric.aspects for p in (*a.accepted, *a.rejected)),
            "all documents": lambda q: " ".join(d.text for d in q.profile.documents),
        }
        for name, way in ways.items():
            numbers[f"score of {name}, {hops} hops"] = mean(judge.verdict(q, way(q)).score for q in group)
    return numbers


def _best_hit(question: Question, retriever: Retriever) -> str:
    return " ".join(hit.document.text for hit in retriever.search(question.profile, question.text, 1))


def _misled(question: Question) -> str:
    """A rejected phrase in the profile for each aspect that has one: outdated, another person's, or a quirk."""
    told = " ".join(document.text for document in question.profile.documents)
    found = (next((p for p in aspect.rejected if p in told), "") for aspect in question.rubric.aspects)
    return " ".join(found)


def _retrieval(world: World, questions: list[Question], retriever: Retriever) -> Numbers:
    """How often the hits contain all evidence, at three new hits a search."""
    numbers: Numbers = {}
    for hops, group in _by_hops(questions):
        if hops:
            by_plan = _found(group, retriever, lambda q: world.gold_queries(q.id))
            numbers[f"all evidence by the plan, {hops} hops"] = by_plan
            numbers[f"all evidence by the question, {hops} hops"] = _found(group, retriever, lambda q: [q.text])
            share = mean(len(_evidence(q) & shown(q, [q.text], retriever)) / len(_evidence(q)) for q in group)
            numbers[f"share of evidence by the question, {hops} hops"] = share
    return numbers


def _found(questions: list[Question], retriever: Retriever, queries: Callable[[Question], Sequence[str]]) -> float:
    return mean(_evidence(q) <= shown(q, queries(q), retriever) for q in questions)


def shown(question: Question, queries: Sequence[str], retriever: Retriever) -> set[str]:
    """The ids of the documents that these searches would show."""
    seen: set[str] = set()
    for query in queries:
        hits = retriever.search(question.profile, query, _TOP_K + len(seen))
        seen |= set([hit.document.id for hit in hits if hit.document.id not in seen][:_TOP_K])
    return seen


def _evidence(question: Question) -> set[str]:
    return {document for aspect in question.rubric.aspects for document in aspect.documents}


def _values(aspects: Iterable[Aspect]) -> str:
    return " ".join(aspect.accepted[0] for aspect in aspects)


def _by_hops(questions: list[Question]) -> list[tuple[int, list[Question]]]:
    groups = {hops: [q for q in questions if q.rubric.hops == hops] for hops in (0, 1, 2)}
    return [(hops, group) for hops, group in groups.items() if group]


if __name__ == "__main__":
    print_numbers(run, sys.argv[1:])
