"""Key figures of an audit, each with a line of explanation."""

from collections.abc import Iterator
from dataclasses import dataclass

from ..intervals import Interval, reach
from .agreement import Agreement
from .audit import Audit, Cost, PositionBias
from .synthetic_answers import FILLER

UNKNOWN = "–"
_WORDS = f"{len(FILLER.split())} words of filler"
_SHIFTS = {  # by the kind of answer
    "partial, then filler": ("length, partial answer", f"score gained by {_WORDS} after a partial answer; 0 is fair"),
    "wrong, then filler": ("length, wrong answer", f"score gained by {_WORDS} after a wrong answer; 0 is fair"),
    "filler, then partial": (
        "point at the end",
        "score gained by a partial answer with the filler before it; 0 is fair",
    ),
    "titles": ("parroting, aspects", "score of naming the aspects without content, minus that of a wrong answer"),
    "question": ("parroting, question", "score of repeating the question, minus that of a wrong answer"),
    "profile": ("parroting, profile", "score of copying unrelated documents, minus that of a wrong answer"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A named figure, its interval or unit, and an explanation."""

    name: str
    value: str
    beside: str
    told: str


def findings(audit: Audit) -> Iterator[Finding]:
    yield from _scores(audit)
    yield _alike(
        "asked again", audit.repeats, "aspects with the same match when an answer is judged again without the cache"
    )
    yield _alike(
        "beside the exact rubric", audit.exact, "aspects with the same match as by the exact rubric (world only)"
    )
    for shift in audit.shifts:
        name, told = _SHIFTS[shift.kind]
        yield Finding(name, _number(shift.gained, "+"), reach(shift.gained, sign="+"), told)
    yield from _places(audit.places)
    yield from _attacks(audit)
    yield _share("unscored", audit.unscored, "failed judgements; they are in no other figure")
    yield from _cost(audit.cost)


def percent(share: Interval) -> str:
    return UNKNOWN if share.mean is None else f"{100 * share.mean:.0f} %"


def kappa(found: Agreement) -> str:
    return UNKNOWN if found.kappa.mean is None else f"{found.kappa.mean:.2f}"


def seconds(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    scale, unit = (1.0, "s") if value >= 1 else (1e3, "ms") if value >= 1e-3 else (1e6, "µs")
    return f"{scale * value:.3g} {unit}"


def _scores(audit: Audit) -> Iterator[Finding]:
    told = {
        "right": "score of answers that cover every aspect; 1 is best",
        "wrong": "score of other people's right answers; 0 is best",
    }
    for of in audit.kinds:
        if of.kind in told:
            yield Finding(f"{of.kind} answers", _number(of.score), reach(of.score), told[of.kind])


def _alike(name: str, found: Agreement | None, told: str) -> Finding:
    if found is None:
        return Finding(name, UNKNOWN, "", told)
    return Finding(name, percent(found.same), f"{reach(found.same, 0, 100)} kappa {kappa(found)}", told)


def _places(places: PositionBias | None) -> Iterator[Finding]:
    if places is None:
        yield Finding("two answers", UNKNOWN, "", "this judge has no pairwise comparison")
        return
    yield _share("two answers, turned", places.flipped, "pairs whose winner depends on their order; 0 is fair")
    yield _share("two answers, right", places.right, "share of comparisons won by the better answer, over both orders")


def _attacks(audit: Audit) -> Iterator[Finding]:
    for of in audit.attacks[:1]:  # the first entry is over all attacks
        told = "score gained by an attack after a wrong answer; 0 is safe"
        yield Finding("attacks, gain", _number(of.gained, "+"), reach(of.gained, sign="+"), told)
        yield _share("attacks, success", of.succeeded, "attacks with any gain")
        yield _share("attacks, reported", of.flagged, "attacks that the detector flags, whatever the judge scored")


def _cost(cost: Cost) -> Iterator[Finding]:
    if cost.prompt_tokens is not None and cost.completion_tokens is not None:
        beside = f"{cost.prompt_tokens:,.0f} read, {cost.completion_tokens:,.0f} written"
        yield Finding(
            "tokens",
            f"{cost.prompt_tokens + cost.completion_tokens:,.0f}",
            beside,
            "per answer with all its aspects",
        )
    if cost.price is not None:
        spent = f"this audit: {cost.spent:.4g}" if cost.spent is not None else ""
        yield Finding(
            "price", f"{1e3 * cost.price:.4g}", spent, "of 1,000 answers, in the currency of the prices given"
        )
    told = "median time to judge an answer, a few at a time"
    yield Finding("time", seconds(cost.p50_seconds), f"p95 {seconds(cost.p95_seconds)}", told)


def _share(name: str, figure: Interval, told: str) -> Finding:
    return Finding(name, percent(figure), reach(figure, 0, 100), told)


def _number(figure: Interval, sign: str = "") -> str:
    return UNKNOWN if figure.mean is None else f"{figure.mean:{sign}.3f}"
