"""The kit passes the shipped judges, and each check catches the fault that it is for."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_judge import Script, verdict

from profilegym import AspectMatch, Question, Verdict
from profilegym.apps.check import check_judge
from profilegym.errors import JudgeError
from profilegym.rewards.judge import Judge, LLMJudge
from profilegym.rewards.rubric import RubricJudge
from profilegym.testing import JudgeContract
from profilegym.testing.judge import CHECKS
from profilegym.testing.kit import ContractViolation

Found = Verdict | JudgeError


class Mine:
    """Right in all; each fault below changes one thing. It matches the answer's length, up to 2."""

    name = "mine"

    async def score(self, question: Question, answer: str) -> Verdict:
        if not question.rubric.aspects:
            raise JudgeError("there are no aspects")
        matches = tuple(AspectMatch(a.title, min(2, len(answer.strip()))) for a in question.rubric.aspects)
        return Verdict(self.name, sum(match.match for match in matches) / (2 * len(matches)), matches)

    async def score_many(self, pairs: Sequence[tuple[Question, str]]) -> Sequence[Found]:
        return [await self._score_or_error(*pair) for pair in pairs]

    async def prefer(self, question: Question, first: str, second: str) -> int:
        return (len(first) > len(second)) - (len(first) < len(second))

    async def _score_or_error(self, question: Question, answer: str) -> Found:
        try:
            return await self.score(question, answer)
        except JudgeError as error:
            return error


class SaysAnotherName(Mine):
    async def score(self, question: Question, answer: str) -> Verdict:
        return replace(await super().score(question, answer), judge="another")


class ForgetsTheLast(Mine):
    async def score_many(self, pairs: Sequence[tuple[Question, str]]) -> Sequence[Found]:
        return (await super().score_many(pairs))[:-1]


class GivesUp(Mine):
    async def score(self, question: Question, answer: str) -> Verdict:
        if answer.strip():
            raise JudgeError("too hard")
        return await super().score(question, answer)


class Sorts(Mine):
    async def score_many(self, pairs: Sequence[tuple[Question, str]]) -> Sequence[Found]:
        return await super().score_many(sorted(pairs, key=lambda pair: len(pair[1])))


class KinderAlone(Mine):
    async def score_many(self, pairs: Sequence[tuple[Question, str]]) -> Sequence[Found]:
        return await super().score_many([(question, answer.strip()[:1]) for question, answer in pairs])


class Moody(Mine):
    def __init__(self) -> None:
        self.moods = itertools.cycle(range(3))

    async def score(self, question: Question, answer: str) -> Verdict:
        return await super().score(question, "x" * next(self.moods) if answer.strip() else "")


class Doubles(Mine):
    async def score(self, question: Question, answer: str) -> Verdict:
        fair = await super().score(question, answer)
        return replace(fair, score=2 * fair.score)


class CannotJudgeNothing(Mine):
    async def score(self, question: Question, answer: str) -> Verdict:
        if not answer.strip():
            raise JudgeError("there is nothing to judge")
        return await super().score(question, answer)


class Writes(Mine):
    async def score(self, question: Question, answer: str) -> Verdict:
        answer.encode()
        return await super().score(question, answer)


class FailsTogether(Mine):
    async def score_many(self, pairs: Sequence[tuple[Question, str]]) -> Sequence[Found]:
        return [await self.score(*pair) for pair in pairs]


class LikesTheFirst(Mine):
    async def prefer(self, question: Question, first: str, second: str) -> int:
        return 1


FAULTS: dict[str, Callable[[], Judge]] = {
    "name": SaysAnotherName,
    "one for each": ForgetsTheLast,
    "judges something": GivesUp,
    "order": Sorts,
    "batch equals single": KinderAlone,
    "deterministic": Moody,
    "metric": Doubles,
    "empty answers": CannotJudgeNothing,
    "hostile answers": Writes,
    "errors stay in place": FailsTogether,
    "preference": LikesTheFirst,
}


def broken(judge: Any) -> dict[str, str]:
    found = {}
    for check in CHECKS:
        try:
            check.run(judge)
        except ContractViolation as error:
            found[check.name] = str(error)
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_its_check(fault: str) -> None:
    assert fault in broken(FAULTS[fault]())


def test_each_check_has_a_fault_that_it_is_for() -> None:
    assert [check.name for check in CHECKS] == list(FAULTS)


def test_the_counter_example_is_shown() -> None:
    assert broken(Doubles()) == {"metric": "the answer '4' got the score 1.0 for the matches [1]"}


@pytest.mark.parametrize(("score", "told"), [(np.float32(0.5), "float32"), (math.nan, "nan")])
def test_a_score_that_is_no_number_of_python_s_is_shown(score: Any, told: str) -> None:
    class Scores(Mine):
        async def score(self, question: Question, answer: str) -> Verdict:
            return replace(await super().score(question, answer), score=score)

    assert told in broken(Scores())["metric"]


class TestMine(JudgeContract):
    def make(self) -> Judge:
        return Mine()


class TestRubric(JudgeContract):
    def make(self) -> Judge:
        return RubricJudge()


class TestLLM(JudgeContract):
    def make(self) -> Judge:
        def reply(prompt: str, _: int) -> str:
            return (
                '{"reason": "", "better": "first"}' if "[second" in prompt else verdict(2 if "\n4\n" in prompt else 0)
            )

        return LLMJudge(Script(reply))


def test_the_example_keeps_every_promise() -> None:
    assert check_judge(f"{Path(__file__).parent.parent}/examples/my_judge.py:make") == 0
