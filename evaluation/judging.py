"""Puts any number of answers to a judge, many at once; each judgement is there as soon as it is had."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from time import perf_counter
from typing import Any, Generic, TypeVar

from ..envs.question import Question
from ..envs.reward import Verdict
from ..errors import BudgetSpent, RewardError
from ..rewards.judge import Judge

T = TypeVar("T")
Done = TypeVar("Done")
AT_ONCE = 64
_VARIES = re.compile(r"""(?<!\w)(['"]).*?\1(?!\w)|\d+""", re.DOTALL)  # the apostrophe of a genitive opens nothing


@dataclass(frozen=True, slots=True)
class Case(Generic[T]):
    """An answer to be judged, and what whoever asks knows it by."""

    key: T
    question: Question
    answer: str


@dataclass(frozen=True, slots=True)
class Judgement(Generic[T]):
    """A verdict, or why there is none."""

    case: Case[T]
    verdict: Verdict | None
    unscored: str | None
    seconds: float


def judgements(judge: Judge, cases: Iterable[Case[T]], at_once: int = AT_ONCE) -> AsyncIterator[Judgement[T]]:
    return as_they_end(partial(_judged, judge), cases, at_once)


async def as_they_end(
    work: Callable[[T], Coroutine[Any, Any, Done]], things: Iterable[T], at_once: int = AT_ONCE
) -> AsyncIterator[Done]:
    """What becomes of each. Things are drawn as there is room, so there may be any number of them.

    A spent budget is raised when all that was under way has ended, as it is paid for.
    """
    waiting, working = iter(things), set[asyncio.Task[Done]]()
    over = asyncio.Queue[asyncio.Task[Done]]()
    spent: BudgetSpent | None = None
    try:
        while True:
            for thing in islice(waiting, 0 if spent else at_once - len(working)):
                task = asyncio.create_task(work(thing))
                task.add_done_callback(over.put_nowait)
                working.add(task)
            if not working:
                break
            task = await over.get()
            working.discard(task)
            try:
                done = task.result()
            except BudgetSpent as error:
                spent = spent or error
            else:
                yield done
    finally:
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
    if spent:
        raise spent


def count_reason(reasons: Counter[str], reason: str) -> None:
    """Those that differ in numbers and quotations only are one, in the words of the first."""
    gist = _VARIES.sub("", reason)
    reasons[next((known for known in reasons if _VARIES.sub("", known) == gist), reason)] += 1


async def close(judge: Judge) -> None:
    """Give back what a judge holds, where it holds something."""
    held = getattr(judge, "close", None)
    if held is not None:
        await held()


async def _judged(judge: Judge, case: Case[T]) -> Judgement[T]:
    start = perf_counter()
    try:
        verdict = await judge.score(case.question, case.answer)
    except RewardError as error:
        return Judgement(case, None, str(error), perf_counter() - start)
    return Judgement(case, verdict, None, perf_counter() - start)
