"""Tries a judge on answers of known worth, and adds up what its word is worth."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from math import ceil
from typing import Any

import numpy as np

from ...envs.data import QuestionSet
from ...envs.question import Question
from ...envs.reward import Verdict
from ...errors import DataError, OptionError
from ...rewards.judge import Judge
from ...rewards.judge_attacks import flags
from ...rewards.rubric import RubricJudge
from ..intervals import Interval, mean
from ..judging import close
from .agreement import Agreement, agreement
from .probes import TOLD, Probe
from .trial import Trial, Watch, trial

BESIDE_EXACT = ("right", "partial", "hedged", "wrong", "refusal")
SHIFTS = (  # what it shows, the kind of answer, and the kind beside which it stands
    ("length", "partial, then filler", "partial"),
    ("length", "wrong, then filler", "wrong"),
    ("position", "filler, then partial", "partial, then filler"),
    ("parroting", "titles", "wrong"),
    ("parroting", "question", "wrong"),
    ("parroting", "profile", "wrong"),
)


@dataclass(frozen=True, slots=True)
class OfKind:
    """What answers of one kind scored, and how many of them the detector of attacks reports."""

    kind: str
    told: str
    score: Interval
    flagged: Interval
    unscored: int


@dataclass(frozen=True, slots=True)
class Shift:
    """How much more one kind of answer scores than another with the same content, or with as little."""

    shows: str
    kind: str
    beside: str
    gained: Interval


@dataclass(frozen=True, slots=True)
class Places:
    """Of two answers compared in both orders: how often the place decides, and how often the better one wins."""

    flipped: Interval
    right: Interval
    first: Interval  # of all wins, those of the first place


@dataclass(frozen=True, slots=True)
class OfAttack:
    """What attacks gained over the wrong answer that they stood behind."""

    kind: str
    gained: Interval
    succeeded: Interval
    flagged: Interval


@dataclass(frozen=True, slots=True)
class Success:
    """An attack that gained something."""

    id: str
    gained: float
    flags: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one answer judged anew, and of the whole audit; None is what the judge does not tell."""

    calls: float | None
    prompt_tokens: float | None
    completion_tokens: float | None
    price: float | None
    spent: float | None
    p50_seconds: float | None
    p95_seconds: float | None


@dataclass(frozen=True, slots=True)
class Audit:
    judge: str
    data: str
    at: str
    questions: int
    users: int
    judged: int
    kinds: tuple[OfKind, ...]
    repeats: Agreement | None  # None for a judge that must not be asked anew
    exact: Agreement | None  # with the world's rubric; None for data whose aspects list no phrases
    shifts: tuple[Shift, ...]
    places: Places | None  # None for a judge that compares no two answers
    attacks: tuple[OfAttack, ...]  # all of them, then by kind
    successes: tuple[Success, ...]  # those that gained most first
    cost: Cost
    unscored: Interval
    reasons: Mapping[str, int]


async def audit(judge: Judge, questions: QuestionSet, limit: int = 50, watch: Watch = lambda *_: None) -> Audit:
    """On up to `limit` questions from all over the set. What the judge has in its cache is not paid for twice."""
    asked = _spread(questions, limit)
    try:
        held = await trial(judge, asked, watch)
    finally:
        await close(judge)
    attacks = _attacks(held)
    return Audit(
        judge=judge.name,
        data=questions.spec,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        questions=len(asked),
        users=len({question.user_id for question in asked}),
        judged=held.judged,
        kinds=tuple(_kinds(held)),
        repeats=_repeats(held) if held.rounds else None,
        exact=_beside_exact(held),
        shifts=tuple(_shifts(held)),
        places=_places(held) if held.compares else None,
        attacks=tuple(_by_kind(attacks)),
        successes=tuple(_successes(attacks)),
        cost=_cost(held),
        unscored=_share(held.unscored),
        reasons=dict(held.reasons.most_common()),
    )


def _spread(questions: QuestionSet, limit: int) -> list[Question]:
    if limit < 1:
        raise OptionError(f"limit={limit!r}: give a whole number of at least 1")
    if not len(questions):
        raise DataError(f"{questions.spec} holds no question: there is nothing to try a judge on")
    return [questions[place] for place in range(0, len(questions), ceil(len(questions) / limit))]


def _scored(held: Trial) -> Iterator[tuple[Probe, Verdict]]:
    return ((probe, verdict) for probe, verdict in zip(held.probes, held.verdicts, strict=True) if verdict)


def _kinds(held: Trial) -> Iterator[OfKind]:
    for kind, told in TOLD.items():
        made = [probe for probe in held.probes if probe.kind == kind]
        scores = [(probe.question.user_id, verdict.score) for probe, verdict in _scored(held) if probe.kind == kind]
        odd = _share((probe.question.user_id, bool(flags(probe.question, probe.answer))) for probe in made)
        if made:
            yield OfKind(kind, told, _share(scores), odd, len(made) - len(scores))


def _repeats(held: Trial) -> Agreement:
    """Of each round with the next."""
    rounds = [zip(held.repeated, *pair, strict=True) for pair in pairwise(held.rounds)]
    return agreement(
        (probe.question.user_id, first, second) for one in rounds for probe, first, second in one if first and second
    )


def _beside_exact(held: Trial) -> Agreement | None:
    """The exact rubric's verdicts first."""
    exact = RubricJudge()
    found = [
        (probe.question.user_id, exact.verdict(probe.question, probe.answer), verdict)
        for probe, verdict in _scored(held)
        if probe.kind in BESIDE_EXACT and all(aspect.accepted for aspect in probe.question.rubric.aspects)
    ]
    return agreement(found) if found else None


def _shifts(held: Trial) -> Iterator[Shift]:
    scores = _scores(held)
    for shows, kind, beside in SHIFTS:
        both = [question for question, of in scores if of == kind and (question, beside) in scores]
        users = {probe.question.id: probe.question.user_id for probe in held.probes}
        gained = [(users[question], scores[question, kind] - scores[question, beside]) for question in both]
        if gained:
            yield Shift(shows, kind, beside, _mean(gained))


def _scores(held: Trial) -> dict[tuple[str, str], float]:
    """By question and kind."""
    return {(probe.question.id, probe.kind): verdict.score for probe, verdict in _scored(held) if not probe.attack}


def _places(held: Trial) -> Places:
    """The two orders of a pair are one value: how it was decided there is no independent of how it was here."""
    decided = [(one.duel.question.user_id, one.forth, one.back) for one in held.decisions]
    return Places(
        _share((user, forth != -back) for user, forth, back in decided),
        _share((user, ((forth == 1) + (back == -1)) / 2) for user, forth, back in decided),
        _share((user, place == 1) for user, forth, back in decided for place in (forth, back) if place),
    )


@dataclass(frozen=True, slots=True)
class _Attacked:
    """An attack, and what it gained."""

    probe: Probe
    kind: str
    gained: float
    flags: tuple[str, ...]


def _attacks(held: Trial) -> list[_Attacked]:
    scores, found = _scores(held), []
    for probe, verdict in _scored(held):
        honest = scores.get((probe.question.id, "wrong"))
        if probe.attack and honest is not None:
            odd = flags(probe.question, probe.answer)
            found.append(_Attacked(probe, probe.attack.kind, verdict.score - honest, odd))
    return found


def _by_kind(attacks: Sequence[_Attacked]) -> Iterator[OfAttack]:
    kinds = dict.fromkeys(one.kind for one in attacks)
    for name, of in (("all", attacks), *((kind, [one for one in attacks if one.kind == kind]) for kind in kinds)):
        gained = _mean((one.probe.question.user_id, one.gained) for one in of)
        succeeded = _share((one.probe.question.user_id, one.gained > 0) for one in of)
        flagged = _share((one.probe.question.user_id, bool(one.flags)) for one in of)
        yield OfAttack(name, gained, succeeded, flagged)


def _successes(attacks: Sequence[_Attacked]) -> Iterator[Success]:
    for one in sorted(attacks, key=lambda one: -one.gained):
        if one.gained > 0 and one.probe.attack:
            yield Success(one.probe.attack.id, one.gained, one.flags, one.probe.attack.answer)


def _cost(held: Trial) -> Cost:
    """Tokens and price of all that was asked in the rounds, time of what was answered there."""
    before, after = held.taken
    n = len(held.rounds) * len(held.repeated)

    def each(name: str) -> float | None:
        taken: Any = [getattr(usage, name, None) for usage in (before, after)]
        return (taken[1] - taken[0]) / n if n and None not in taken else None

    p50, p95 = map(float, np.percentile(held.seconds, (50, 95))) if held.seconds else (None, None)
    spent = getattr(after, "cost", None)
    return Cost(each("calls"), each("prompt_tokens"), each("completion_tokens"), each("cost"), spent, p50, p95)


def _mean(values: Iterable[tuple[str, float]]) -> Interval:
    """Of values by user."""
    return mean(_by_user(values))


def _share(values: Iterable[tuple[str, float]]) -> Interval:
    """Of values by user from 0 to 1."""
    return mean(_by_user(values), fraction=True)


def _by_user(values: Iterable[tuple[str, float]]) -> dict[str, list[float]]:
    by_user: dict[str, list[float]] = defaultdict(list)
    for user, value in values:
        by_user[user].append(float(value))
    return by_user
