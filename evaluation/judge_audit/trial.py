"""Puts answers of known worth to a judge: once, again and again, and two at a time."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...envs.question import Question
from ...envs.reward import Verdict
from ...errors import RewardError
from ...rewards.judge import Comparing, Judge
from ..judging import AT_ONCE, Case, Judgement, as_they_end, count_reason, judgements
from .probes import Probe, attacked, probes

REPEATED = ("right", "partial")  # the kinds that are judged again and again
TIMES = 3
COMPARED = (("right", "wrong"), ("right", "partial"), ("partial", "wrong"))  # the better one first
TIMED_AT_ONCE = 8  # so few that none waits for another at an endpoint's usual limits

Watch = Callable[[int, int], object]  # how many judgements are there, of how many


@dataclass(frozen=True, slots=True)
class Duel:
    """Two answers to a question, the better one first."""

    question: Question
    better: str
    worse: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Who won in the order better, worse and in the other one: 1 is the first place, -1 the second, 0 neither."""

    duel: Duel
    forth: int
    back: int


@dataclass
class Trial:
    """All that the judge said. Without a judge that may be asked anew there are no rounds."""

    probes: Sequence[Probe]
    verdicts: list[Verdict | None] = field(default_factory=list)  # in the order of the probes
    repeated: Sequence[Probe] = ()
    rounds: list[list[Verdict | None]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # that each judgement of the rounds took
    taken: tuple[Any, Any] = (None, None)  # what the model had used before the rounds and after them
    decisions: list[Decision] = field(default_factory=list)
    compares: bool = False
    reasons: Counter[str] = field(default_factory=Counter)
    unscored: list[tuple[str, bool]] = field(default_factory=list)  # of each judgement: the user, and whether it failed

    @property
    def judged(self) -> int:
        return len(self.unscored)


async def trial(judge: Judge, questions: Sequence[Question], watch: Watch) -> Trial:
    return await _Bench(judge, questions, watch).work()


class _Bench:
    """Where the trial is held; what costs least to lose comes last, as it is in no cache."""

    def __init__(self, judge: Judge, questions: Sequence[Question], watch: Watch) -> None:
        self.judge = judge
        self.anew: Judge | None = judge.uncached() if hasattr(judge, "uncached") else judge
        made = [*probes(questions), *attacked(questions)]
        self.trial = Trial(made, repeated=[probe for probe in made if probe.kind in REPEATED])
        self.duels = list(_duels(made)) if hasattr(judge, "prefer") else []
        rounds = TIMES * len(self.trial.repeated) if self.anew else 0
        self.watch, self.done, self.total = watch, 0, len(made) + 2 * len(self.duels) + rounds

    async def work(self) -> Trial:
        trial = self.trial
        trial.verdicts = [found.verdict for found in await self._judge(self.judge, trial.probes)]
        await self._compare()
        if self.anew:
            await self._repeat(self.anew)
        return trial

    async def _repeat(self, judge: Judge) -> None:
        before = getattr(self.judge, "usage", None)
        for _ in range(TIMES):
            found = await self._judge(judge, self.trial.repeated, TIMED_AT_ONCE)
            self.trial.rounds.append([one.verdict for one in found])
            self.trial.seconds += [one.seconds for one in found if one.verdict]
        self.trial.taken = before, getattr(self.judge, "usage", None)

    async def _judge(self, judge: Judge, made: Sequence[Probe], at_once: int = AT_ONCE) -> list[Judgement[int]]:
        """In the order of the probes."""
        cases = (Case(place, probe.question, probe.answer) for place, probe in enumerate(made))
        found = []
        async for judgement in judgements(judge, cases, at_once):
            found.append(judgement)
            self.trial.unscored.append((judgement.case.question.user_id, judgement.unscored is not None))
            if judgement.unscored is not None:
                count_reason(self.trial.reasons, judgement.unscored)
            self._tell(1)
        return sorted(found, key=lambda judgement: judgement.case.key)

    async def _compare(self) -> None:
        self.trial.compares = bool(self.duels)
        async for decision in as_they_end(self._decide, self.duels):
            if decision is not None:
                self.trial.decisions.append(decision)
            self._tell(2)

    async def _decide(self, duel: Duel) -> Decision | None:
        judge: Comparing = self.judge  # type: ignore[assignment]  # only such a one has duels
        try:
            forth = await judge.prefer(duel.question, duel.better, duel.worse)
            return Decision(duel, forth, await judge.prefer(duel.question, duel.worse, duel.better))
        except RewardError as error:
            count_reason(self.trial.reasons, f"two answers compared: {error}")
            return None

    def _tell(self, more: int) -> None:
        self.done += more
        self.watch(self.done, self.total)


def _duels(made: Sequence[Probe]) -> Iterator[Duel]:
    answers = {(probe.question.id, probe.kind): probe.answer for probe in made}
    for question in {probe.question.id: probe.question for probe in made}.values():
        for better, worse in COMPARED:
            if (question.id, better) in answers and (question.id, worse) in answers:
                yield Duel(question, answers[question.id, better], answers[question.id, worse])
