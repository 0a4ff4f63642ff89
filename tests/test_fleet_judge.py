"""The judge of a fleet on Ray, without a cluster: how long it lives."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from matching import naming

from profilegym.errors import OptionError
from profilegym.fleet import on_ray
from profilegym.fleet.on_ray import JudgeActor, RayPool

pytest.importorskip("ray")


class Actor:
    """Ray's handle of a judge in this process: its methods give what they return."""

    def __init__(self, judge: JudgeActor) -> None:
        self._judge = judge

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=getattr(self._judge, name))


class Cluster:
    """As much of Ray as a driver uses to end; `killed` are its actors that were."""

    exceptions = SimpleNamespace(RayError=RuntimeError)

    def __init__(self) -> None:
        self.killed: list[Any] = []

    def get(self, reply: Any, timeout: float) -> Any:
        return asyncio.run(reply)

    def kill(self, actor: Any) -> None:
        self.killed.append(actor)


def driver_of(judge: Actor, cluster: Cluster) -> RayPool:
    pool = RayPool()
    pool._ray, pool._judge, pool._connected_before = cluster, judge, True
    pool._judge._judge._held[pool._driver] = time.monotonic()
    return pool


def test_the_judge_ends_with_the_last_driver_that_needs_it() -> None:
    judge, cluster = Actor(JudgeActor("rubric", ".", {})), Cluster()
    one, other = driver_of(judge, cluster), driver_of(judge, cluster)

    one.__exit__(None, None, None)
    assert cluster.killed == []
    other.__exit__(None, None, None)
    assert cluster.killed == [judge]


def test_a_judge_that_nobody_asks_lives_while_a_driver_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(on_ray, "JUDGE_IDLE", 0.05)
    monkeypatch.setattr("os._exit", ended.append)
    judge = JudgeActor("rubric", ".", {})

    async def live() -> None:
        await judge.hold("driver")
        await asyncio.sleep(0.2)
        assert not ended
        await judge.release("driver")
        await asyncio.sleep(0.2)

    asyncio.run(live())
    assert ended == [0]


def test_a_judge_that_cannot_be_made_is_an_error_of_the_driver() -> None:
    with pytest.raises(OptionError, match=naming("ftp://there")):
        RayPool().share_judge("openai:judge,base_url=ftp://there")
