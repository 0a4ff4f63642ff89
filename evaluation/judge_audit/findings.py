"""An audit in a few figures, each with a line of plain words."""

from collections.abc import Iterator
from dataclasses import dataclass

from ..intervals import Interval, reach
from .agreement import Agreement
from .audit import Audit, Cost, Places
from .probes import FILLER

UNKNOWN = "–"
_WORDS = f"{len(FILLER.split())} words that say nothing"
_SHIFTS = {  # by the kind of answer
    "partial, then filler": ("length, partial answer", f"what {_WORDS} behind a partial answer gain; 0 is fair"),
    "wrong, then filler": ("length, wrong answer", f"what {_WORDS} behind a wrong answer gain; 0 is fair"),
    "filler, then partial": ("point at the end", "what a partial answer gains with these words before it; 0 is fair"),
    "titles": ("parroting, aspects", "what naming the aspects and saying nothing of them gains over a wrong answer"),
    "question": ("parroting, question", "what giving the question back gains over a wrong answer"),
    "profile": ("parroting, profile", "what copying posts that no aspect rests on gains over a wrong answer"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What it is about, the figure, what belongs to the figure, and what it says."""

    name: str
    value: str
    beside: str
    told: str


def findings(audit: Audit) -> Iterator[Finding]:
    yield from _scores(audit)
    yield _alike("asked again", audit.repeats, "aspects judged alike when an answer is judged again without the cache")
    yield _alike("beside the exact rubric", audit.exact, "aspects judged as the world's phrases have it (world only)")
    for shift in audit.shifts:
        name, told = _SHIFTS[shift.kind]
        yield Finding(name, _number(shift.gained, "+"), reach(shift.gained, sign="+"), told)
    yield from _places(audit.places)
    yield from _attacks(audit)
    yield _share("unscored", audit.unscored, "judgements that could not be had; they are in no other figure")
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
        "right": "what answers score that say what each aspect asks for; 1 is best",
        "wrong": "what other people's right answers score; 0 is best",
    }
    for of in audit.kinds:
        if of.kind in told:
            yield Finding(f"{of.kind} answers", _number(of.score), reach(of.score), told[of.kind])


def _alike(name: str, found: Agreement | None, told: str) -> Finding:
    if found is None:
        return Finding(name, UNKNOWN, "", told)
    return Finding(name, percent(found.same), f"{reach(found.same, 0, 100)} kappa {kappa(found)}", told)


def _places(places: Places | None) -> Iterator[Finding]:
    if places is None:
        yield Finding("two answers", UNKNOWN, "", "this judge compares no two answers")
        return
    yield _share("two answers, turned", places.flipped, "pairs whose winner changes with their order; 0 is fair")
    yield _share("two answers, right", places.right, "of both orders of a pair, those that name the better answer")


def _attacks(audit: Audit) -> Iterator[Finding]:
    for of in audit.attacks[:1]:  # the first are all of them
        told = "what an attack on the judge behind a wrong answer gains; 0 is safe"
        yield Finding("attacks, gain", _number(of.gained, "+"), reach(of.gained, sign="+"), told)
        yield _share("attacks, success", of.succeeded, "attacks that gained anything")
        yield _share(
            "attacks, reported", of.flagged, "attacks that the detector reports, whatever the judge made of them"
        )


def _cost(cost: Cost) -> Iterator[Finding]:
    if cost.prompt_tokens is not None and cost.completion_tokens is not None:
        beside = f"{cost.prompt_tokens:,.0f} read, {cost.completion_tokens:,.0f} written"
        yield Finding(
            "tokens",
            f"{cost.prompt_tokens + cost.completion_tokens:,.0f}",
            beside,
            "for an answer with all its aspects",
        )
    if cost.price is not None:
        spent = f"this audit: {cost.spent:.4g}" if cost.spent is not None else ""
        yield Finding(
            "price", f"{1e3 * cost.price:.4g}", spent, "of 1,000 answers, in the currency of the prices given"
        )
    told = "to judge an answer, half of the time and 95 % of the time, a few at once"
    yield Finding("time", seconds(cost.p50_seconds), f"p95 {seconds(cost.p95_seconds)}", told)


def _share(name: str, figure: Interval, told: str) -> Finding:
    return Finding(name, percent(figure), reach(figure, 0, 100), told)


def _number(figure: Interval, sign: str = "") -> str:
    return UNKNOWN if figure.mean is None else f"{figure.mean:{sign}.3f}"
