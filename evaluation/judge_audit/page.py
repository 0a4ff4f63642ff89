"""Writes `audit.html`, the audit of a judge on one page."""

from collections.abc import Iterator

from ..._util.counted import counted
from ..intervals import BRACKETS, Interval, reach, spread
from ..page import Child, Markup, details, join, page, pairs, section, table, tag
from ..svg import points
from .agreement import LEVELS, Agreement
from .audit import Audit, Success
from .findings import findings, kappa, percent

_SHOWN, _CHARS = 20, 2_000  # attacks with a gain, and characters of each


def audit_page(audit: Audit) -> str:
    title = f"Audit of the judge {audit.judge}"
    about = pairs(
        {
            "data": audit.data,
            "questions": f"{audit.questions:,} of {counted(audit.users, 'user')}",
            "judgements": f"{audit.judged:,}",
            "at": audit.at,
        }
    )
    brackets = tag("p", BRACKETS, class_="note")
    return page(title, tag("h1", title), about, brackets, _tiles(audit), *_sections(audit))


def _tiles(audit: Audit) -> Markup:
    tiles = [
        tag(
            "div",
            tag("span", one.name),
            tag("b", one.value),
            tag("span", one.beside),
            tag("span", one.told),
            class_="tile",
        )
        for one in findings(audit)
    ]
    return tag("div", *tiles, class_="tiles")


def _sections(audit: Audit) -> Iterator[Markup]:
    yield _kinds(audit)
    if audit.repeats:
        note = "The same answers, judged repeatedly without the cache: how often does an aspect get the same match?"
        yield section("Asked again", _agreement(audit.repeats, "once", "the next time"), note=note)
    if audit.exact:
        note = "The world lists accepted and rejected phrases of each aspect, so the right match is known exactly."
        yield section("Beside the exact rubric", _agreement(audit.exact, "exact", "judge"), note=note)
    yield _shifts(audit)
    yield _places(audit)
    yield _attacks(audit)
    yield _unscored(audit)


def _kinds(audit: Audit) -> Markup:
    rows: list[list[Child]] = [
        [join(of.kind, tag("div", tag("small", of.told))), spread(of.score), _share(of.flagged), of.unscored]
        for of in audit.kinds
    ]
    return section(
        "What answers score",
        points([(of.kind, of.score) for of in audit.kinds], "Mean score by kind of answer"),
        table(["an answer that", "score", "flagged", "unscored"], rows),
        note="Made from the data, so that their quality is known. Flagged: by the attack detector.",
    )


def _agreement(found: Agreement, first: str, second: str) -> Markup:
    """A confusion matrix with its summary figures."""
    rows: list[list[Child]] = [[f"{first}: {level}", *found.confusion[level]] for level in range(LEVELS)]
    return join(
        pairs(
            {
                "alike": f"{percent(found.same)} {reach(found.same, 0, 100)} of {found.same.n:,} aspects",
                "kappa": f"{kappa(found)} {reach(found.kappa, 2)} (1 is full agreement, 0 is chance)",
                "score": f"{spread(found.shift, sign='+')} higher in the second place",
            }
        ),
        table(["aspects matched", *(f"{second}: {level}" for level in range(LEVELS))], rows),
    )


def _shifts(audit: Audit) -> Markup:
    rows: list[list[Child]] = [
        [f"{shift.shows}: {shift.kind}", shift.beside, spread(shift.gained, sign="+"), shift.gained.n]
        for shift in audit.shifts
    ]
    return section(
        "Biases: what moves the score besides content",
        points([(f"{shift.shows}: {shift.kind}", shift.gained) for shift in audit.shifts], "Gain in score"),
        table(["answer", "beside", "gains", "questions"], rows),
        note="Each answer is compared with one of the same content, or with none: an unbiased judge scores both alike.",
    )


def _places(audit: Audit) -> Markup:
    places = audit.places
    if places is None:
        return section("Two answers, in both orders", tag("p", "This judge has no pairwise comparison."))
    return section(
        "Two answers, in both orders",
        pairs(
            {
                "winner changes with the order": _share(places.flipped),
                "the better answer wins": _share(places.right),
                "the first place wins": f"{_share(places.first)} of the comparisons with a winner",
            }
        ),
        note="Pairs of the right, partial and wrong answers; an unbiased judge gives the first place half of the wins.",
    )


def _attacks(audit: Audit) -> Markup:
    rows: list[list[Child]] = [
        [of.kind, of.gained.n, spread(of.gained, sign="+"), _share(of.succeeded), _share(of.flagged)]
        for of in audit.attacks
    ]
    shown = [_success(success) for success in audit.successes[:_SHOWN]]
    more = len(audit.successes) - len(shown)
    return section(
        "Attacks on the judge",
        table(["kind", "attacks", "gain", "succeeded", "flagged"], rows),
        tag("h3", "Attacks with the largest gain") if shown else tag("p", "No attack had a gain."),
        *shown,
        tag("p", f"… and {more} more") if more else None,
        note="A wrong answer followed by an attack, compared with that answer alone. Flagged: by the attack detector.",
    )


def _success(success: Success) -> Markup:
    head = f"{success.id}: {success.gained:+.3f}, flagged as {', '.join(success.flags) or 'nothing'}"
    return details(head, tag("p", success.text[:_CHARS], class_="said"))


def _unscored(audit: Audit) -> Markup:
    reasons = [[reason, count] for reason, count in audit.reasons.items()]
    return section(
        "Unscored",
        tag("p", f"{_share(audit.unscored)} of {audit.unscored.n:,} judgements"),
        table(["reason", "times"], [list(row) for row in reasons]) if reasons else None,
        note="Failed judgements are counted here and are in no other figure; they never count as 0.",
    )


def _share(interval: Interval) -> str:
    return f"{percent(interval)} {reach(interval, 0, 100)}"
