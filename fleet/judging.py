"""Judges answers on the workers of a place. Each has a judge of its own, with its share of the limits."""

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from functools import partial
from typing import Any

from ..evaluation.judging import MAX_CONCURRENCY, Case, Judgement, Judging, judge_all
from ..rewards.judge import Judge
from ..rewards.registry import make_judge
from .judge import bare
from .mapping import Found, Items, Work, map_on
from .worker import share

LARGEST = 512  # answers of a shard: long enough that the slowest reply matters little
_CONCURRENCY = re.compile(r"(?<=,)concurrency=(\d+)(?=,|$)")


def judging_on(place: str, spec: str) -> Judging:
    """As `judge_all`, by workers that make the judge from its spec. They get question and answer, never the profile."""
    return partial(_judge_on, place, spec)


async def _judge_on(place: str, spec: str, judge: Judge, cases: Iterable[Case[Any]]) -> AsyncIterator[Judgement[Any]]:
    waiting = list(cases)
    items = [(bare(case.question), case.answer) for case in waiting]
    users = [question.user_id for question, _ in items]
    async with aclosing(map_on(place, partial(_make, spec), items, users, LARGEST)) as found:
        async for number, (verdict, unscored, seconds) in found:
            yield Judgement(waiting[number], verdict, unscored, seconds)


def _make(spec: str, workers: int) -> Work:
    judge, at_once = make_judge(share_of_judge(spec, workers)), max(1, MAX_CONCURRENCY // workers)

    async def work(items: Items) -> AsyncIterator[Found]:
        cases = [Case(number, *item) for number, item in items.items()]
        async for one in judge_all(judge, cases, at_once):
            yield one.case.key, (one.verdict, one.unscored, one.seconds)

    return work


def share_of_judge(spec: str, workers: int) -> str:
    """The spec of one worker's judge: rates, budget and concurrency are divided among all workers."""
    shared = share(spec, workers)
    return _CONCURRENCY.sub(lambda found: f"concurrency={max(1, int(found[1]) // workers)}", shared)
