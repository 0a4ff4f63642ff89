"""Collects a judge's verdicts on synthetic answers: once, repeatedly, and in pairs."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ...envs.question import Question
from ...envs.reward import Verdict
from ...errors import RewardError
from ...rewards.judge import Comparing, Judge
from ..judging import Case, Judgement, Judging, count_reason, judge_all, map_unordered
from .synthetic_answers import SyntheticAnswer, attack_answers, synthetic_answers

REPEATED = ("right", "partial")  # kinds that are judged repeatedly
ROUNDS = 3
COMPARED = (("right", "wrong"), ("right", "partial"), ("partial", "wrong"))  # the better one first
TIMED_CONCURRENCY = 8  # few enough to stay below an endpoint's usual limits

Progress = Callable[[int, int], object]  # judgements done, and of how many
_Work = Callable[[Iterable[Case[int]]], AsyncIterator[Judgement[int]]]


@dataclass(frozen=True, slots=True)
class AnswerPair:
    """Two answers to a question, the better one first."""

    question: Question
    better: str
    worse: str


@dataclass(frozen=True, slots=True)
class Preference:
    """The preference in the order (better, worse), and swapped: 1 first place, -1 second place, 0 tie."""

    pair: AnswerPair
    forward: int
    swapped: int


@dataclass
class Collected:
    """Everything that the judge returned. `rounds` is empty for a judge that cannot be asked again."""

    answers: Sequence[SyntheticAnswer]
    verdicts: list[Verdict | None] = field(default_factory=list)  # in the order of the answers
    repeated: Sequence[SyntheticAnswer] = ()
    rounds: list[list[Verdict | None]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # per judgement of the rounds
    usage: tuple[Any, Any] = (None, None)  # the model's usage before and after the rounds
    preferences: list[Preference] = field(default_factory=list)
    compares: bool = False
    reasons: Counter[str] = field(default_factory=Counter)
    unscored: list[tuple[str, bool]] = field(default_factory=list)  # per judgement: the user, and whether it failed

    @property
    def judged(self) -> int:
        return len(self.unscored)


async def collect(
    judge: Judge, questions: Sequence[Question], progress: Progress, judging: Judging = judge_all
) -> Collected:
    return await _Collector(judge, questions, progress).work(judging)


class _Collector:
    """Runs the calls; the uncached ones come last, as an interruption loses them."""

    def __init__(self, judge: Judge, questions: Sequence[Question], progress: Progress) -> None:
        self.judge = judge
        self.uncached: Judge | None = judge.uncached() if hasattr(judge, "uncached") else judge
        made = [*synthetic_answers(questions), *attack_answers(questions)]
        self.collected = Collected(made, repeated=[item for item in made if item.kind in REPEATED])
        self.pairs = list(_pairs(made)) if hasattr(judge, "prefer") else []
        rounds = ROUNDS * len(self.collected.repeated) if self.uncached else 0
        self.progress, self.done, self.total = progress, 0, len(made) + 2 * len(self.pairs) + rounds

    async def work(self, judging: Judging) -> Collected:
        collected = self.collected
        collected.verdicts = [
            found.verdict for found in await self._judged(partial(judging, self.judge), collected.answers)
        ]
        await self._compare()
        if self.uncached:
            await self._repeat(self.uncached)
        return collected

    async def _repeat(self, judge: Judge) -> None:
        before = getattr(self.judge, "usage", None)
        for _ in range(ROUNDS):
            work = partial(judge_all, judge, max_concurrency=TIMED_CONCURRENCY)
            found = await self._judged(work, self.collected.repeated)
            self.collected.rounds.append([one.verdict for one in found])
            self.collected.seconds += [one.seconds for one in found if one.verdict]
        self.collected.usage = before, getattr(self.judge, "usage", None)

    async def _judged(self, work: _Work, made: Sequence[SyntheticAnswer]) -> list[Judgement[int]]:
        """Judgements in the order of the answers."""
        cases = (Case(place, item.question, item.answer) for place, item in enumerate(made))
        found = []
        async for judgement in work(cases):
            found.append(judgement)
            self.collected.unscored.append((judgement.case.question.user_id, judgement.unscored is not None))
            if judgement.unscored is not None:
                count_reason(self.collected.reasons, judgement.unscored)
            self._advance(1)
        return sorted(found, key=lambda judgement: judgement.case.key)

    async def _compare(self) -> None:
        self.collected.compares = bool(self.pairs)
        async for preference in map_unordered(self._decide, self.pairs):
            if preference is not None:
                self.collected.preferences.append(preference)
            self._advance(2)

    async def _decide(self, pair: AnswerPair) -> Preference | None:
        judge: Comparing = self.judge  # type: ignore[assignment]  # only such a judge has pairs
        try:
            forward = await judge.prefer(pair.question, pair.better, pair.worse)
            return Preference(pair, forward, await judge.prefer(pair.question, pair.worse, pair.better))
        except RewardError as error:
            count_reason(self.collected.reasons, f"comparing two answers: {error}")
            return None

    def _advance(self, more: int) -> None:
        self.done += more
        self.progress(self.done, self.total)


def _pairs(made: Sequence[SyntheticAnswer]) -> Iterator[AnswerPair]:
    answers = {(item.question.id, item.kind): item.answer for item in made}
    for question in {item.question.id: item.question for item in made}.values():
        for better, worse in COMPARED:
            if (question.id, better) in answers and (question.id, worse) in answers:
                yield AnswerPair(question, answers[question.id, better], answers[question.id, worse])
