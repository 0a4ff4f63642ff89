"""Calls of the one judge of a fleet, over a socket: whatever the judge does, its callers get a reply."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from profilegym import load_questions
from profilegym._util.sync import run_sync
from profilegym.envs.reward import AspectMatch, Verdict
from profilegym.fleet.judge import JudgeDesk
from profilegym.fleet.local import LocalPool
from profilegym.fleet.socket_calls import Caller, Desk
from profilegym.rewards.judge import Pair


class Unreadable:
    """Can be pickled, but not read again."""

    def __reduce__(self) -> Any:
        return int, ("no number",)


def ask(answer: Callable[[Any], Awaitable[Any]], *asked: Any) -> list[Any]:
    """The replies, or the exceptions in their places, one call after the other."""

    async def call() -> list[Any]:
        with tempfile.TemporaryDirectory() as folder:
            desk, caller = await Desk.open(Path(folder) / "desk", answer), Caller(Path(folder) / "desk")
            found: list[Any] = []
            for one in asked:
                async with asyncio.timeout(5):
                    found += await asyncio.gather(caller(one), return_exceptions=True)
            assert caller._connection is not None
            (await caller._connection).close()
            await desk.close()
            return found

    return run_sync(call())


async def cancelled(asked: Any) -> Any:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    return await future


async def a_function(asked: Any) -> Any:
    return lambda: asked


async def unreadable(asked: Any) -> Any:
    return Unreadable()


@pytest.mark.parametrize("answer", [cancelled, a_function, unreadable])
def test_no_caller_waits_for_a_reply_that_cannot_arrive(answer: Callable[[Any], Awaitable[Any]]) -> None:
    first, second = ask(answer, 1, 2)

    assert isinstance(first, Exception)
    assert isinstance(second, Exception)


def test_a_long_path_of_temporary_files_is_none_for_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("long" * 25)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))

    with LocalPool(1) as pool:
        made = pool.share_judge(OwnNumbers())  # type: ignore[arg-type]

    assert callable(made)


class Match(IntEnum):
    """A class of the judge's own file, which no worker loads."""

    PARTLY = 1


class OwnNumbers:
    name = "own"

    async def score(self, question: Any, answer: str) -> Verdict:
        aspects = tuple(AspectMatch(aspect.title, Match.PARTLY) for aspect in question.rubric.aspects)
        return Verdict("own", 0.5, aspects)

    async def score_many(self, pairs: Sequence[Pair]) -> list[Verdict]:
        return [await self.score(*pair) for pair in pairs]


def test_a_verdict_reaches_workers_in_plain_numbers() -> None:
    question = load_questions("world:seed=7,users=20/test")[0]

    ((verdict,),) = ask(JudgeDesk(OwnNumbers()).answer, [(question, "an answer")])  # type: ignore[arg-type]

    assert {type(aspect.match) for aspect in verdict.aspects} == {int}
