"""Judges any number of answers concurrently; yields each judgement as it arrives."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from time import perf_counter
from typing import Any, Generic, TypeVar

from .._util.sync import awaiting_plug_in
from ..envs.question import Question
from ..envs.reward import Verdict, plain_verdict
from ..errors import BudgetSpent, RewardError
from ..rewards.judge import Judge

T = TypeVar("T")
Done = TypeVar("Done")
MAX_CONCURRENCY = 64
_VARIES = re.compile(r"""(?<!\w)(['"]).*?\1(?!\w)|\d+""", re.DOTALL)  # an apostrophe inside a word is no quotation mark


@dataclass(frozen=True, slots=True)
class Case(Generic[T]):
    """An answer to judge, with the caller's key for it."""

    key: T
    question: Question
    answer: str


@dataclass(frozen=True, slots=True)
class Judgement(Generic[T]):
    """A verdict, or the reason why there is none."""

    case: Case[T]
    verdict: Verdict | None
    unscored: str | None
    seconds: float


Judging = Callable[[Judge, Iterable[Case[Any]]], AsyncIterator[Judgement[Any]]]


def judge_all(
    judge: Judge, cases: Iterable[Case[T]], max_concurrency: int = MAX_CONCURRENCY
) -> AsyncIterator[Judgement[T]]:
    return map_unordered(partial(_judged, judge), cases, max_concurrency)


async def map_unordered(
    work: Callable[[T], Coroutine[Any, Any, Done]], items: Iterable[T], max_concurrency: int = MAX_CONCURRENCY
) -> AsyncIterator[Done]:
    """Yields the result of `work` on each item as it is ready, at most `max_concurrency` at a time.

    Items are drawn lazily. A spent budget is raised after the calls in progress have ended, as they are paid for.
    """
    waiting, running = iter(items), set[asyncio.Task[Done]]()
    ended = asyncio.Queue[asyncio.Task[Done]]()
    spent: BudgetSpent | None = None
    try:
        while True:
            for item in islice(waiting, 0 if spent else max_concurrency - len(running)):
                task = asyncio.create_task(work(item))
                task.add_done_callback(ended.put_nowait)
                running.add(task)
            if not running:
                break
            task = await ended.get()
            running.discard(task)
            try:
                done = task.result()
            except BudgetSpent as error:
                spent = spent or error
            else:
                yield done
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    if spent:
        raise spent


def count_reason(reasons: Counter[str], reason: str) -> None:
    """Counts a reason; reasons that differ only in numbers and quotations count as the first of them."""
    gist = _VARIES.sub("", reason)
    reasons[next((known for known in reasons if _VARIES.sub("", known) == gist), reason)] += 1


async def close(judge: Judge) -> None:
    """Closes a judge that can be closed."""
    held = getattr(judge, "close", None)
    if held is not None:
        await held()


async def _judged(judge: Judge, case: Case[T]) -> Judgement[T]:
    """A judge that fails in another way than it may leaves this answer alone unscored, as in an evaluation."""
    start, verdict, unscored = perf_counter(), None, None
    try:
        with awaiting_plug_in():
            verdict = plain_verdict(await judge.score(case.question, case.answer))
    except BudgetSpent:
        raise
    except RewardError as error:
        unscored = str(error)
    except Exception as error:
        unscored = f"the judge failed: {type(error).__name__}: {error}"
    return Judgement(case, verdict, unscored, perf_counter() - start)
