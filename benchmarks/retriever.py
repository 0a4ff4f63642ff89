"""How well retrievers find a data set's evidence, how fast they are, and how large their indexes are.

Each question is one search for its text, or a fixed use of tools. Differences to bm25 are taken question by question.
"""

import asyncio
import gc
import time
import tracemalloc
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import get_args

import numpy as np
import numpy.typing as npt

from .._util.keys import hidden
from ..envs.data import QuestionSet, load_questions
from ..envs.question import Document, Profile, Question
from ..envs.retrieval import Retriever, make_retriever
from ..errors import DataError
from ..evaluation.intervals import FEW, Interval, mean
from ..fleet.mapping import Found, Items, Work, map_on
from ..rewards.ranking import ndcg, precision, recall, reciprocal_rank
from ..rewards.search_metrics import Unit, evidence_by, units
from .tool_use import ToolUse

REFERENCE = "bm25"
SHOWN = (5, 10, 15, 25, 30, 50)  # documents shown
METRICS = (*(f"recall@{k}" for k in SHOWN), "precision@10", "nDCG@10", "MRR")
UNITS: tuple[Unit, ...] = get_args(Unit)
Array = npt.NDArray[np.float64]
Searcher = Retriever | ToolUse

_DEPTH = max(SHOWN)
_ANY_QUERY = "history"  # makes a retriever index a profile
_WEIGHED = 1_000  # documents in the profiles whose index is weighed


@dataclass(frozen=True, slots=True)
class Cost:
    """Times depend on the machine: compare those of one run."""

    load_seconds: float
    index_seconds: float  # the first search in each profile, which embeds what no cache holds
    index_bytes: float  # a document, in this process
    search_ms: float  # the median of single searches in indexed profiles
    search_ms_p95: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its interval over people, and over questions where people are few.

    An interval over questions takes the people as given: it says nothing about other people.
    """

    people: Interval
    questions: Interval | None


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric and its difference to the reference, which itself has none."""

    metric: str
    value: Estimate
    difference: Estimate | None


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one retriever over all questions, or over those of one category.

    By session, `recall@5` is the share of the evidence sessions of which some document is among the first five.
    """

    retriever: str
    by: Unit
    category: str | None
    questions: int
    figures: list[Figure]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All figures of one run."""

    data: str
    tools: str | None  # that each retriever is measured with, too
    questions: int
    without_evidence: int  # questions left out
    people: int
    documents: int
    rows: list[Row]
    costs: dict[str, Cost]


@dataclass(slots=True)
class Searched:
    """What one retriever found by document or by session: a row per question with such evidence."""

    ids: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    categories: list[str | None] = field(default_factory=list)
    values: list[list[float]] = field(default_factory=list)  # in the order of METRICS

    def add(self, other: "Searched") -> None:
        self.ids += other.ids
        self.users += other.users
        self.categories += other.categories
        self.values += other.values


@dataclass(slots=True)
class Measured:
    """The searches of one retriever: a time per question with evidence."""

    by: dict[Unit, Searched] = field(default_factory=lambda: {unit: Searched() for unit in UNITS})
    seconds: list[float] = field(default_factory=list)
    index_seconds: float = 0.0
    profiles: dict[bytes, int] = field(default_factory=dict)  # documents by digest
    sample: list[Profile] = field(default_factory=list)

    def add(self, other: "Measured") -> None:
        """Adds later searches; the sample stays as it is."""
        for unit, found in other.by.items():
            self.by[unit].add(found)
        self.seconds += other.seconds
        self.index_seconds += other.index_seconds
        self.profiles |= other.profiles


def compare(
    specs: Sequence[str],
    data: QuestionSet,
    limit: int | None = None,
    advance: Callable[[str], None] | None = None,
    tools: str | None = None,
    on: str | None = None,
) -> Comparison:
    """Measure bm25 and the named retrievers on the first `limit` questions, alone and with the `tools` of a spec.

    `advance` is called with the name of a row after each of its questions. `on` is the place of workers that search;
    times are then those of searches beside each other.
    """
    found, costs = dict[str, Measured](), dict[str, Cost]()
    for name, (spec, its_tools) in rows_of(specs, tools).items():
        step = None if advance is None else partial(advance, name)
        found[name], costs[name] = _measure(spec, its_tools, data, limit, step, on)
    reference = found[REFERENCE]
    return Comparison(
        data=data.spec,
        tools=tools and hidden(tools),
        questions=(asked := len(reference.seconds)),
        without_evidence=min(len(data), limit or len(data)) - asked,
        people=len({user for of in reference.by.values() for user in of.users}),
        documents=sum(reference.profiles.values()),
        rows=list(_rows(found)),
        costs=costs,
    )


def rows_of(specs: Sequence[str], tools: str | None) -> dict[str, tuple[str, str | None]]:
    """By name of a row: the retriever, and the tools that use it."""
    names = dict.fromkeys([REFERENCE, *specs])
    rows: dict[str, tuple[str, str | None]] = {hidden(spec): (spec, None) for spec in names}
    if tools is not None:
        rows |= {hidden(f"{spec}, {tools}"): (spec, tools) for spec in names}
    return rows


def _measure(
    spec: str,
    tools: str | None,
    data: QuestionSet,
    limit: int | None,
    advance: Callable[[], None] | None,
    on: str | None,
) -> tuple[Measured, Cost]:
    started = time.perf_counter()
    retriever = _searcher(spec, tools)
    loaded = time.perf_counter() - started
    measured = Measured()
    if on is not None:
        measured = asyncio.run(_measured_on(on, spec, tools, data, limit, advance))
    else:
        for question in islice(data, limit):
            _ask(retriever, question, measured)
            if advance:
                advance()
    if not measured.seconds:
        raise DataError(f"no question of {data.spec} names its evidence, so that no search can be scored")
    del retriever  # its model is loaded again to weigh the index
    milliseconds = 1e3 * np.array(measured.seconds)
    typical, slow = np.percentile(milliseconds, (50, 95)).tolist()
    return measured, Cost(loaded, measured.index_seconds, _index_bytes(spec, measured.sample), typical, slow)


def _searcher(spec: str, tools: str | None) -> Searcher:
    alone = make_retriever(spec)
    return alone if tools is None else ToolUse(tools, alone)


async def _measured_on(
    on: str, spec: str, tools: str | None, data: QuestionSet, limit: int | None, advance: Callable[[], None] | None
) -> Measured:
    """The workers' measurements, in the order of the questions."""
    positions = range(min(len(data), limit or len(data)))
    make, users = partial(_measuring, spec, tools, data.spec), map(data.user_of, positions)
    found = dict[int, Measured]()
    async with aclosing(map_on(on, make, positions, users)) as measurements:
        async for position, one in measurements:
            found[position] = one
            if advance:
                advance()
    whole = Measured()
    for position in positions:
        new = found[position].profiles.keys() - whole.profiles.keys()
        if new and sum(map(len, whole.sample)) < _WEIGHED:
            whole.sample.append(data[position].profile)
        whole.add(found[position])
    return whole


def _measuring(spec: str, tools: str | None, data: str, workers: int) -> Work:
    retriever, questions, indexed = _searcher(spec, tools), load_questions(data), dict[bytes, int]()

    async def work(items: Items) -> AsyncIterator[Found]:
        for number, position in items.items():
            one = Measured(profiles=indexed)  # of this worker
            _ask(retriever, questions[position], one)
            profile = questions[position].profile
            yield number, replace(one, profiles={profile.digest: len(profile)} if one.seconds else {}, sample=[])

    return work


def _ask(retriever: Searcher, question: Question, measured: Measured) -> None:
    evidence = {unit: wanted for unit in UNITS if (wanted := evidence_by(question, unit))}
    if not evidence:
        return
    profile = question.profile
    if profile.digest not in measured.profiles:
        measured.index_seconds += _timed(retriever, profile, _ANY_QUERY, 1)[0]
        if sum(map(len, measured.sample)) < _WEIGHED:
            measured.sample.append(profile)
        measured.profiles[profile.digest] = len(profile)
    seconds, shown = _timed(retriever, profile, question.search_text, _DEPTH)
    measured.seconds.append(seconds)
    for unit, wanted in evidence.items():
        found = measured.by[unit]
        found.ids.append(question.id)
        found.users.append(question.user_id)
        found.categories.append(question.category)
        found.values.append(list(_values(question, shown, wanted, unit)))


def _values(question: Question, shown: list[str], wanted: set[str], by: Unit) -> Iterator[float]:
    """In the order of METRICS; a cutoff counts documents."""
    for k in SHOWN:
        yield recall(units(question, shown[:k], by), wanted, k)
    first = units(question, shown[:10], by)
    yield precision(first, wanted, 10)
    yield ndcg(first, wanted, 10)
    yield reciprocal_rank(units(question, shown, by), wanted)


def _timed(retriever: Searcher, profile: Profile, query: str, k: int) -> tuple[float, list[str]]:
    started = time.perf_counter()
    hits = retriever.search(profile, query, k)
    return time.perf_counter() - started, [hit.document.id for hit in hits]


def _index_bytes(spec: str, profiles: Sequence[Profile]) -> float:
    """What a new retriever keeps of these profiles, a document."""
    retriever = make_retriever(spec)
    retriever.search(Profile("nobody", (Document("1", _ANY_QUERY),)), _ANY_QUERY, 1)  # loads what is loaded once
    gc.collect()
    tracemalloc.start()
    try:
        for profile in profiles:
            retriever.search(profile, _ANY_QUERY, 1)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / max(1, sum(map(len, profiles)))
    finally:
        tracemalloc.stop()


def _rows(searched: dict[str, Measured]) -> Iterator[Row]:
    for unit in UNITS:
        found = {spec: measured.by[unit] for spec, measured in searched.items()}
        if found[REFERENCE].ids:
            yield from _rows_by(unit, found)


def _rows_by(unit: Unit, found: dict[str, Searched]) -> Iterator[Row]:
    reference = found[REFERENCE]
    names = sorted({name for name in reference.categories if name is not None})
    for category in [None, *names] if len(names) > 1 else [None]:
        places = [place for place, name in enumerate(reference.categories) if category in (None, name)]
        for spec, one in found.items():
            compared = None if spec == REFERENCE else reference
            yield Row(spec, unit, category, len(places), _figures(one, compared, places))


def _figures(found: Searched, reference: Searched | None, places: list[int]) -> list[Figure]:
    ids, users = [found.ids[place] for place in places], [found.users[place] for place in places]
    values = np.array([found.values[place] for place in places])
    others = None if reference is None else np.array([reference.values[place] for place in places])
    return [
        Figure(
            metric,
            _estimate(values[:, column], users, ids, fraction=True),
            None if others is None else _estimate(values[:, column] - others[:, column], users, ids, fraction=False),
        )
        for column, metric in enumerate(METRICS)
    ]


def _estimate(values: Array, users: list[str], ids: list[str], fraction: bool) -> Estimate:
    by_user: dict[str, list[float]] = defaultdict(list)
    for user, value in zip(users, values.tolist(), strict=True):
        by_user[user].append(value)
    few = len(by_user) < FEW and len(by_user) < len(ids)
    by_question = {name: [value] for name, value in zip(ids, values.tolist(), strict=True)} if few else {}
    return Estimate(mean(by_user, fraction), mean(by_question, fraction) if few else None)
