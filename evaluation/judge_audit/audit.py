"""Audits a judge: validity, repeatability, biases, robustness to attacks, and cost."""

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
from ..judging import Judging, close, judge_all
from .agreement import Agreement, agreement
from .collect import Collected, Progress, collect
from .synthetic_answers import KINDS, SyntheticAnswer

BESIDE_EXACT = ("right", "partial", "hedged", "wrong", "refusal")
SHIFTS = (  # the bias, the kind of answer, and the kind it is compared with
    ("length", "partial, then filler", "partial"),
    ("length", "wrong, then filler", "wrong"),
    ("position", "filler, then partial", "partial, then filler"),
    ("parroting", "titles", "wrong"),
    ("parroting", "question", "wrong"),
    ("parroting", "profile", "wrong"),
)


@dataclass(frozen=True, slots=True)
class KindResult:
    """The scores of one kind of answer, and how many the attack detector flags."""

    kind: str
    told: str
    score: Interval
    flagged: Interval
    unscored: int


@dataclass(frozen=True, slots=True)
class Shift:
    """The score of one kind of answer minus another's with the same content, or with none."""

    shows: str
    kind: str
    beside: str
    gained: Interval


@dataclass(frozen=True, slots=True)
class PositionBias:
    """Position bias of pairwise comparison: how often order decides, and how often the better answer wins."""

    flipped: Interval
    right: Interval
    first: Interval  # the share of wins by the first place


@dataclass(frozen=True, slots=True)
class AttackResult:
    """The score gained by attacks over the wrong answers before them."""

    kind: str
    gained: Interval
    succeeded: Interval
    flagged: Interval


@dataclass(frozen=True, slots=True)
class Success:
    """An attack with a gain."""

    id: str
    gained: float
    flags: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of judging one answer without the cache; None where unknown. `spent` is for the whole audit."""

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
    kinds: tuple[KindResult, ...]
    repeats: Agreement | None  # None for a judge that cannot be asked again
    exact: Agreement | None  # with the exact rubric; None for data without accepted phrases
    shifts: tuple[Shift, ...]
    places: PositionBias | None  # None for a judge without pairwise comparison
    attacks: tuple[AttackResult, ...]  # all attacks, then by kind
    successes: tuple[Success, ...]  # largest gain first
    cost: Cost
    unscored: Interval
    reasons: Mapping[str, int]


async def audit(
    judge: Judge,
    questions: QuestionSet,
    limit: int = 50,
    progress: Progress = lambda *_: None,
    judging: Judging = judge_all,
) -> Audit:
    """Uses up to `limit` questions spread over the set; cached replies cost nothing.

    `judging` says where each answer is judged once. Comparisons and the timed rounds are always judged here.
    """
    asked = _spread(questions, limit)
    try:
        collected = await collect(judge, asked, progress, judging)
    finally:
        await close(judge)
    attacks = _attacks(collected)
    return Audit(
        judge=judge.name,
        data=questions.spec,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        questions=len(asked),
        users=len({question.user_id for question in asked}),
        judged=collected.judged,
        kinds=tuple(_kinds(collected)),
        repeats=_repeats(collected) if collected.rounds else None,
        exact=_beside_exact(collected),
        shifts=tuple(_shifts(collected)),
        places=_places(collected) if collected.compares else None,
        attacks=tuple(_by_kind(attacks)),
        successes=tuple(_successes(attacks)),
        cost=_cost(collected, judging is judge_all),
        unscored=_share(collected.unscored),
        reasons=dict(collected.reasons.most_common()),
    )


def _spread(questions: QuestionSet, limit: int) -> list[Question]:
    if limit < 1:
        raise OptionError(f"limit={limit!r}: give a whole number of at least 1")
    if not len(questions):
        raise DataError(f"{questions.spec} holds no question: there is nothing to test a judge on")
    return [questions[place] for place in range(0, len(questions), ceil(len(questions) / limit))]


def _scored(collected: Collected) -> Iterator[tuple[SyntheticAnswer, Verdict]]:
    return ((item, verdict) for item, verdict in zip(collected.answers, collected.verdicts, strict=True) if verdict)


def _kinds(collected: Collected) -> Iterator[KindResult]:
    for kind, told in KINDS.items():
        made = [item for item in collected.answers if item.kind == kind]
        scores = [(item.question.user_id, verdict.score) for item, verdict in _scored(collected) if item.kind == kind]
        odd = _share((item.question.user_id, bool(flags(item.question, item.answer))) for item in made)
        if made:
            yield KindResult(kind, told, _share(scores), odd, len(made) - len(scores))


def _repeats(collected: Collected) -> Agreement:
    """Agreement of each round with the next."""
    rounds = [zip(collected.repeated, *pair, strict=True) for pair in pairwise(collected.rounds)]
    return agreement(
        (item.question.user_id, first, second) for one in rounds for item, first, second in one if first and second
    )


def _beside_exact(collected: Collected) -> Agreement | None:
    """Agreement with the exact rubric, whose verdicts come first."""
    exact = RubricJudge()
    found = [
        (item.question.user_id, exact.verdict(item.question, item.answer), verdict)
        for item, verdict in _scored(collected)
        if item.kind in BESIDE_EXACT and all(aspect.accepted for aspect in item.question.rubric.aspects)
    ]
    return agreement(found) if found else None


def _shifts(collected: Collected) -> Iterator[Shift]:
    scores = _scores(collected)
    for shows, kind, beside in SHIFTS:
        both = [question for question, of in scores if of == kind and (question, beside) in scores]
        users = {item.question.id: item.question.user_id for item in collected.answers}
        gained = [(users[question], scores[question, kind] - scores[question, beside]) for question in both]
        if gained:
            yield Shift(shows, kind, beside, _mean(gained))


def _scores(collected: Collected) -> dict[tuple[str, str], float]:
    """By question and kind."""
    return {(item.question.id, item.kind): verdict.score for item, verdict in _scored(collected) if not item.attack}


def _places(collected: Collected) -> PositionBias:
    """The two orders of a pair count as one value, as they are not independent."""
    decided = [(one.pair.question.user_id, one.forward, one.swapped) for one in collected.preferences]
    return PositionBias(
        _share((user, forward != -swapped) for user, forward, swapped in decided),
        _share((user, ((forward == 1) + (swapped == -1)) / 2) for user, forward, swapped in decided),
        _share((user, place == 1) for user, forward, swapped in decided for place in (forward, swapped) if place),
    )


@dataclass(frozen=True, slots=True)
class _Attacked:
    """An attack and its gain."""

    item: SyntheticAnswer
    kind: str
    gained: float
    flags: tuple[str, ...]


def _attacks(collected: Collected) -> list[_Attacked]:
    scores, found = _scores(collected), []
    for item, verdict in _scored(collected):
        honest = scores.get((item.question.id, "wrong"))
        if item.attack and honest is not None:
            odd = flags(item.question, item.answer)
            found.append(_Attacked(item, item.attack.kind, verdict.score - honest, odd))
    return found


def _by_kind(attacks: Sequence[_Attacked]) -> Iterator[AttackResult]:
    kinds = dict.fromkeys(one.kind for one in attacks)
    for name, of in (("all", attacks), *((kind, [one for one in attacks if one.kind == kind]) for kind in kinds)):
        gained = _mean((one.item.question.user_id, one.gained) for one in of)
        succeeded = _share((one.item.question.user_id, one.gained > 0) for one in of)
        flagged = _share((one.item.question.user_id, bool(one.flags)) for one in of)
        yield AttackResult(name, gained, succeeded, flagged)


def _successes(attacks: Sequence[_Attacked]) -> Iterator[Success]:
    for one in sorted(attacks, key=lambda one: -one.gained):
        if one.gained > 0 and one.item.attack:
            yield Success(one.item.attack.id, one.gained, one.flags, one.item.attack.answer)


def _cost(collected: Collected, all_here: bool) -> Cost:
    """Tokens and price per call of the rounds, and the time of those answered.

    `all_here`: no workers judged, whose usage is not known here.
    """
    before, after = collected.usage
    n = len(collected.rounds) * len(collected.repeated)

    def each(name: str) -> float | None:
        taken: Any = [getattr(usage, name, None) for usage in (before, after)]
        return (taken[1] - taken[0]) / n if n and None not in taken else None

    p50, p95 = map(float, np.percentile(collected.seconds, (50, 95))) if collected.seconds else (None, None)
    spent = getattr(after, "cost", None) if all_here else None
    return Cost(each("calls"), each("prompt_tokens"), each("completion_tokens"), each("cost"), spent, p50, p95)


def _mean(values: Iterable[tuple[str, float]]) -> Interval:
    """The mean of (user, value) pairs."""
    return mean(_by_user(values))


def _share(values: Iterable[tuple[str, float]]) -> Interval:
    """The same for values from 0 to 1."""
    return mean(_by_user(values), fraction=True)


def _by_user(values: Iterable[tuple[str, float]]) -> dict[str, list[float]]:
    by_user: dict[str, list[float]] = defaultdict(list)
    for user, value in values:
        by_user[user].append(float(value))
    return by_user
