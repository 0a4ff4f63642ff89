"""Evaluations on a Ray cluster of two nodes with one core each, with actors, nodes and drivers killed."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fleet_runs import (
    ASKED,
    PATIENCE,
    after,
    children,
    driver,
    episodes,
    finish,
    is_gone,
    kill,
    moments,
    slow_oracle,
    texts,
    unbroken,
    until,
    wait_gone,
)
from matching import names, naming

from profilegym import load_questions
from profilegym.envs.retrieval.bm25 import BM25
from profilegym.errors import FleetError
from profilegym.fleet.mapping import Mapper
from profilegym.fleet.on_ray import RayPool
from profilegym.fleet.pool import Outcome
from profilegym.testing import JudgeServer

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::ResourceWarning")]
STORE = 80 * 2**20  # bytes, of each node's object store
TRIES = 5  # to start a node: Ray gives it 15 seconds, and a busy machine may need more
QUICK = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 500, "health_check_failure_threshold": 4}


class TwoNodes:
    """A cluster whose second node can be killed and started again."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster()
        self.head, self.second = self._node(_system_config=QUICK), self._node()
        self.processes: list[int] = []

    @property
    def on(self) -> str:
        return f"ray:{self.cluster.address},place={PATIENCE}"  # where much else runs, a process starts slowly

    def actors(self) -> list[int]:
        """Ids of the processes of workers."""
        return [actor for node in (self.head, self.second) for actor in children(raylet_of(node), "ray::Worker")]

    def kill_node(self) -> None:
        """Kills the raylet of the second node, and starts another node."""
        kill(raylet_of(self.second))
        self.cluster.remove_node(self.second, allow_graceful=False)
        self.second = self._node()

    def close(self) -> list[int]:
        """Ids of all processes that it had."""
        started = [process.process.pid for node in (self.head, self.second) for process in started_by(node)]
        started += [child for process in started for child in children(process)]
        self.cluster.shutdown()
        return started

    def _node(self, **options: Any) -> Any:
        for left in reversed(range(TRIES)):
            try:
                return self.cluster.add_node(num_cpus=1, object_store_memory=STORE, include_dashboard=False, **options)
            except Exception:  # Ray's own class for a node that was too slow is Exception
                if not left:
                    raise
        raise AssertionError


def started_by(node: Any) -> list[Any]:
    return [process for processes in node.all_processes.values() for process in processes]


def raylet_of(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


@pytest.fixture(scope="module")
def cluster() -> Iterator[TwoNodes]:
    nodes = TwoNodes()
    try:
        yield nodes
    finally:
        wait_gone(nodes.close())


def test_actors_play_what_one_process_plays_and_are_gone_afterwards(cluster: TwoNodes, tmp_path: Path) -> None:
    with driver(cluster.on, ASKED, tmp_path / "ray") as running:
        finish(running)

    assert episodes(tmp_path / "ray") == unbroken(ASKED, tmp_path / "plain")
    assert cluster.actors() == []


def test_a_greedy_model_writes_the_same_in_actors(cluster: TwoNodes, tmp_path: Path) -> None:
    settings = replace(ASKED, model="pilot", temperature=0.0, limit=6, turn_tokens=64)
    with driver(f"{cluster.on},workers=2", settings, tmp_path / "ray") as running:
        finish(running)
    unbroken(settings, tmp_path / "plain")

    assert texts(tmp_path / "ray") == texts(tmp_path / "plain")


def test_killed_actors_are_replaced_and_nothing_is_recorded_twice(cluster: TwoNodes, tmp_path: Path) -> None:
    settings, killed = slow_oracle(tmp_path), []
    with driver(cluster.on, settings, tmp_path / "killed") as running:
        for moment in moments(3, 3):
            after(moment, tmp_path / "killed", running)
            until(lambda: bool(cluster.actors()), running)
            killed.append(random.Random(moment).choice(cluster.actors()))
            kill(killed[-1])
        finish(running)

    assert all(map(is_gone, killed))
    assert episodes(tmp_path / "killed") == unbroken(settings, tmp_path / "whole")


def test_a_killed_node_s_work_goes_on_elsewhere(cluster: TwoNodes, tmp_path: Path) -> None:
    settings = slow_oracle(tmp_path)
    with driver(f"{cluster.on},workers=2", settings, tmp_path / "killed") as running:
        for moment in moments(4, 1):
            after(moment, tmp_path / "killed", running)
            cluster.kill_node()
        finish(running)

    assert episodes(tmp_path / "killed") == unbroken(settings, tmp_path / "whole")


def test_a_killed_driver_goes_on_when_started_again(cluster: TwoNodes, tmp_path: Path) -> None:
    settings = slow_oracle(tmp_path)
    for moment in moments(5, 2):
        with driver(cluster.on, settings, tmp_path / "killed") as running:
            after(moment, tmp_path / "killed", running)
            actors = cluster.actors()
            kill(running.pid)
            wait_gone(actors)
    with driver(cluster.on, settings, tmp_path / "killed") as running:
        finish(running)

    assert episodes(tmp_path / "killed") == unbroken(settings, tmp_path / "whole")


def test_workers_that_cannot_be_placed_are_an_error_that_says_what_is_missing(
    cluster: TwoNodes, tmp_path: Path
) -> None:
    with driver(f"ray:{cluster.cluster.address},workers=1,gpus=1,place=1", ASKED, tmp_path) as running:
        told, _ = running.communicate(timeout=120)

    assert running.returncode == 1
    assert names(told, "1 CPU and 1 GPU", "2 CPU and 0 GPU")


def test_a_lost_worker_that_nobody_works_beside_is_not_waited_for_without_end(cluster: TwoNodes) -> None:
    with RayPool(cluster.cluster.address, workers=2, place=PATIENCE) as pool:  # one is started, as for few shards
        pool.start(0, Mapper)
        pool.call(0, "ready")
        ended = _until(pool, PATIENCE)
        pool._needs, pool._place = {"CPU": 99, "GPU": 0}, 1  # as where its node is gone
        pool.start(0, Mapper)
        pool.call(0, "ready")

        assert [outcome.died for outcome in ended] == [None]
        with pytest.raises(FleetError, match=naming("1 of 2 workers", "99 CPU")):
            _until(pool, PATIENCE)


def _until(pool: RayPool, seconds: float) -> Sequence[Outcome]:
    """The next outcomes."""
    end = time.monotonic() + seconds
    while not (found := pool.wait(0.2)):
        assert time.monotonic() < end
    return found


def test_the_judge_is_one_actor_with_the_limits_of_all(cluster: TwoNodes, tmp_path: Path) -> None:
    with JudgeServer(latency=0.05) as server:
        judge = f"openai:judge,base_url={server.url},api_key=none,concurrency=2,cache={tmp_path / 'judge.sqlite'}"
        settings = replace(ASKED, judge=judge, limit=12)
        with driver(cluster.on, settings, tmp_path / "run") as running:
            finish(running)

        assert server.most_in_flight == 2
    assert all(episode["verdict"] for episode in episodes(tmp_path / "run").values())


def test_actors_index_what_one_process_indexes(cluster: TwoNodes, tmp_path: Path) -> None:
    data = "world:users=400,docs=40"
    command = [sys.executable, "-m", "profilegym", "index", data, "--out", str(tmp_path / "store")]
    subprocess.run([*command, "--on", f"{cluster.on},workers=2"], check=True, timeout=PATIENCE)

    questions = load_questions(data)
    requests = [(question.profile, question.text) for question in questions]
    assert BM25(store=tmp_path / "store").search_many(requests, 5) == BM25().search_many(requests, 5)
    assert sorted(os.listdir(tmp_path / "store")) == ["000.bm25", "001.bm25", "store.json"]
    assert cluster.actors() == []
