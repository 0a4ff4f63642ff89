"""`--on` of commands that judge and search: the workers give what one process gives."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, cast

import pytest
from matching import naming

from profilegym import load_questions
from profilegym.benchmarks.retriever import compare
from profilegym.errors import DataError, FleetError
from profilegym.evaluation.evaluate import Settings, evaluate
from profilegym.evaluation.judge_audit.audit import audit
from profilegym.evaluation.late_verdicts import read_verdicts
from profilegym.evaluation.rejudge import rejudge
from profilegym.evaluation.run import RunDirectory
from profilegym.fleet.judging import judging_on, share_of_judge
from profilegym.fleet.mapping import Found, Items, Make, Results, Work, _Mapping, map_on
from profilegym.fleet.pool import Outcome
from profilegym.rewards.registry import make_judge
from profilegym.rewards.rubric import RubricJudge
from profilegym.testing import JudgeServer

DATA = "world:seed=7,users=40/test"
pytestmark = pytest.mark.slow  # processes are started


def all_of(make: Make, count: int = 40, place: str = "local:2") -> list[Found]:
    async def collect() -> list[Found]:
        async with aclosing(map_on(place, make, range(count), [f"u{n // 2}" for n in range(count)])) as found:
            return [one async for one in found]

    return asyncio.run(collect())


def doubling(deadly: str, workers: int) -> Work:
    """Doubles each item. The first process to come to item 7 dies of it, where `deadly` names a file to note it in."""

    async def work(items: Items) -> AsyncIterator[Found]:
        for number, item in items.items():
            if item == 7 and deadly and not os.path.exists(deadly):
                Path(deadly).touch()
                os._exit(3)
            yield number, 2 * item

    return work


def dying(workers: int) -> Work:
    os._exit(3)


class Still:
    """A pool of two workers that do nothing by themselves."""

    size = 2

    def start(self, worker: int, kind: type) -> None: ...

    def call(self, worker: int, method: str, *arguments: Any) -> None: ...


def failing(workers: int) -> Work:
    async def work(items: Items) -> AsyncIterator[Found]:
        for _ in items:
            raise DataError("record 12 is damaged")
        yield 0, None

    return work


def test_each_item_has_its_result_once_though_a_worker_died(tmp_path: Path) -> None:
    found = all_of(partial(doubling, str(tmp_path / "died")))

    assert sorted(found) == [(number, 2 * number) for number in range(40)]
    assert (tmp_path / "died").exists()


def test_deaths_count_while_no_worker_gives_a_result() -> None:
    mapping = _Mapping(cast(Any, Still()), partial(doubling, ""), range(40), [range(20), range(20, 40)])
    for worker in (0, 1):
        list(mapping.take(Outcome(worker, Results())))

    for number in range(20, 30):
        assert list(mapping.take(Outcome(0, died="killed"))) == []
        assert list(mapping.take(Outcome(1, Results([(number, 0)], ended=False)))) == [(number, 0)]

    deaths = [Outcome(0, died="killed")] * 3
    with pytest.raises(FleetError, match=naming("worker 0", "3 times", "killed")):
        list(chain.from_iterable(map(mapping.take, deaths)))


def test_workers_that_die_at_once_and_errors_of_the_work_are_errors_here() -> None:
    with pytest.raises(FleetError, match=naming("exit code 3")):
        all_of(dying)
    with pytest.raises(DataError, match=naming("12")):
        all_of(failing)


def test_no_items_need_no_worker() -> None:
    assert all_of(dying, count=0) == []


def test_the_limits_of_a_judge_are_divided_among_workers() -> None:
    spec = "openai:judge,concurrency=9,budget=3,requests_per_minute=60,cache=judge.sqlite"

    assert (
        share_of_judge(spec, 2) == "openai:judge,concurrency=4,budget=1.5,requests_per_minute=30.0,cache=judge.sqlite"
    )


def verdicts(run: RunDirectory) -> dict[Any, Any]:
    return {key: [(late.judge, late.verdict, late.unscored) for late in found] for key, found in
            read_verdicts(run.path).items()}  # fmt: skip


@pytest.mark.parametrize("place", ["local:2", "ray:local,workers=2,cpus=0.5"])
def test_workers_judge_a_run_as_one_process_does(tmp_path: Path, place: str) -> None:
    if place.startswith("ray"):
        pytest.importorskip("ray")
    runs = [RunDirectory(tmp_path / name) for name in ("one", "two")]
    with JudgeServer(latency=0.02) as server:
        judge = f"openai:judge,base_url={server.url},api_key=none,concurrency=4"
        for run in runs:
            asyncio.run(evaluate(Settings(model="scripted:oracle", data=DATA, limit=12), run))
        asyncio.run(rejudge(runs[0], judge))

        outcome = asyncio.run(rejudge(runs[1], judge, judging=judging_on(place, judge)))

        assert server.most_in_flight <= 4
    assert outcome.scored == 24
    assert verdicts(runs[1]) == verdicts(runs[0])


def test_workers_audit_a_judge_as_one_process_does() -> None:
    questions = load_questions(DATA)
    plain = asyncio.run(audit(RubricJudge(), questions, 8))

    found = asyncio.run(audit(make_judge("rubric"), questions, 8, judging=judging_on("local:2", "rubric")))

    assert (found.kinds, found.attacks, found.shifts, found.judged) == (
        plain.kinds, plain.attacks, plain.shifts, plain.judged,
    )  # fmt: skip


def test_workers_compare_retrievers_as_one_process_does() -> None:
    questions, advanced = load_questions(DATA), list[str]()
    plain = compare(["recency"], questions, 20)

    found = compare(["recency"], questions, 20, advanced.append, on="local:2")

    assert found.rows == plain.rows
    assert (found.questions, found.people, found.documents) == (plain.questions, plain.people, plain.documents)
    assert len(advanced) == 40
    assert all(cost.search_ms > 0 and cost.index_seconds > 0 for cost in found.costs.values())
