"""Evaluations on several processes of one machine."""

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fleet_runs import (
    ASKED,
    after,
    children,
    driver,
    episodes,
    finish,
    kill,
    moments,
    slow_oracle,
    texts,
    unbroken,
    wait_gone,
)
from matching import naming

from profilegym import load_questions
from profilegym.errors import BudgetSpent, DataError, FleetError, OptionError, UnknownName
from profilegym.evaluation.evaluate import Settings, Speed, evaluate
from profilegym.evaluation.run import RunDirectory
from profilegym.fleet.driver import evaluate_on
from profilegym.fleet.pool import make_pool
from profilegym.fleet.shards import split
from profilegym.fleet.worker import Surroundings, share
from profilegym.testing import JudgeServer

WORKERS = "spawn_main"  # in the command line of a worker


def on_two(settings: Settings, out: Path) -> dict[str, object]:
    return evaluate_on("local:2", settings, RunDirectory(out), Speed(in_flight=4))


def test_a_shard_has_all_questions_of_its_users() -> None:
    users = [f"u{position % 50}" for position in range(200)]

    shards = split(users, workers=2)

    homes = {user: {shard.number for shard in shards for at in shard.positions if users[at] == user} for user in users}
    assert all(len(numbers) == 1 for numbers in homes.values())
    assert sorted(at for shard in shards for at in shard.positions) == list(range(200))
    assert len(shards) >= 16


def test_the_world_knows_the_user_of_a_question_without_making_it() -> None:
    questions = load_questions("world:seed=7,users=30/test")

    assert [questions.user_of(at) for at in range(len(questions))] == [question.user_id for question in questions]


def test_a_place_that_there_is_not_is_an_error() -> None:
    with pytest.raises(OptionError, match=naming("many")):
        make_pool("local:many")
    with pytest.raises(UnknownName, match=naming("slurm")):
        make_pool("slurm")


def test_rates_and_budget_of_the_model_are_divided_among_workers() -> None:
    spec = "openai:player,requests_per_minute=60,concurrency=8,budget=1.5"

    assert share(spec, 4) == "openai:player,requests_per_minute=15.0,concurrency=8,budget=0.375"
    assert share("hf:path/budget=3", 4) == "hf:path/budget=3"
    assert share("openai:player,tokens_per_minute=1e6,budget=1_000", 4) == (
        "openai:player,tokens_per_minute=250000.0,budget=250.0"
    )
    assert share("openai:player,budget=much", 4) == "openai:player,budget=much"


def test_a_worker_asks_the_driver_s_endpoint_whatever_its_machine_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://of-the-driver/v1")
    monkeypatch.setenv("SHELL_OF", "the driver")
    monkeypatch.setenv("HF_HOME", "/driver/hf")
    surroundings = Surroundings.of_driver()
    monkeypatch.setenv("OPENAI_BASE_URL", "http://of-the-node/v1")
    monkeypatch.setenv("SHELL_OF", "the node")
    monkeypatch.setenv("HF_HOME", "/node/hf")

    surroundings.enter()

    assert os.environ["OPENAI_BASE_URL"] == "http://of-the-driver/v1"
    assert os.environ["SHELL_OF"] == "the node"
    assert os.environ["HF_HOME"] == "/node/hf"


def test_a_question_that_left_the_data_set_is_named(tmp_path: Path) -> None:
    run, settings = RunDirectory(tmp_path), replace(ASKED, limit=2)
    asyncio.run(evaluate(settings, run))
    lines = run.trajectories_file.read_text().splitlines()
    gone = json.loads(lines[0]) | {"question_id": "gone"}
    run.trajectories_file.write_text("\n".join([json.dumps(gone), *lines[1:], ""]))

    with pytest.raises(DataError, match=naming("gone")):
        on_two(settings, tmp_path)


@pytest.mark.slow
def test_processes_play_what_one_plays(tmp_path: Path) -> None:
    settings = replace(ASKED, limit=12, seeds=2)

    summary = on_two(settings, tmp_path / "two")

    assert episodes(tmp_path / "two") == unbroken(settings, tmp_path / "one")
    assert summary["episodes"] == 24
    assert on_two(settings, tmp_path / "two") == summary  # there is nothing left to play


@pytest.mark.slow
def test_a_greedy_model_writes_the_same_in_workers(tmp_path: Path) -> None:
    settings = replace(ASKED, model="pilot", temperature=0.0, limit=6, turn_tokens=64)

    on_two(settings, tmp_path / "two")
    unbroken(settings, tmp_path / "one")

    assert texts(tmp_path / "two") == texts(tmp_path / "one")


@pytest.mark.slow
def test_killed_workers_are_replaced_and_nothing_is_played_twice(tmp_path: Path) -> None:
    settings = slow_oracle(tmp_path)
    with driver("local:2", settings, tmp_path / "killed") as running:
        for moment in moments(1, 3):
            after(moment, tmp_path / "killed", running)
            kill(children(running.pid, WORKERS)[0])
        finish(running)

    assert episodes(tmp_path / "killed") == unbroken(settings, tmp_path / "whole")


@pytest.mark.slow
def test_a_killed_driver_leaves_no_worker_and_goes_on_when_started_again(tmp_path: Path) -> None:
    settings = slow_oracle(tmp_path)
    for moment in moments(2, 2):
        with driver("local:2", settings, tmp_path / "killed") as running:
            after(moment, tmp_path / "killed", running)
            workers = children(running.pid, WORKERS)
            kill(running.pid)
            wait_gone(workers)
    with driver("local:2", settings, tmp_path / "killed") as running:
        finish(running)

    assert len(workers) == 2
    assert episodes(tmp_path / "killed") == unbroken(settings, tmp_path / "whole")


@pytest.mark.slow
def test_a_worker_that_dies_at_its_first_episode_each_time_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "deadly.py").write_text("import os\n\ndef make():\n    os._exit(3)\n")

    with pytest.raises(FleetError, match=naming("exit code 3")):
        on_two(replace(ASKED, model=f"{tmp_path}/deadly.py:make"), tmp_path / "run")


@pytest.mark.slow
def test_what_a_worker_cannot_make_is_an_error_of_the_run(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=naming("nobody")):
        on_two(replace(ASKED, model="nobody"), tmp_path / "run")


@pytest.mark.slow
def test_the_judge_s_limits_and_cache_are_one_for_all_workers(tmp_path: Path) -> None:
    with JudgeServer(latency=0.05) as server:
        limits = f"concurrency=2,cache={tmp_path / 'judge.sqlite'}"
        judge = f"openai:judge,base_url={server.url},api_key=none,{limits}"
        settings = replace(ASKED, judge=judge, limit=12)

        on_two(settings, tmp_path / "two")

        asked, most = server.requests, server.most_in_flight
        assert most == 2
        on_two(settings, tmp_path / "again")
        assert server.requests == asked
    again = episodes(tmp_path / "again")
    assert again == episodes(tmp_path / "two")
    assert all(episode["verdict"] for episode in again.values())


@pytest.mark.slow
def test_a_spent_budget_of_the_judge_ends_the_run_with_what_is_scored(tmp_path: Path) -> None:
    with JudgeServer(latency=0.005) as server:
        priced = "price_in=1,price_out=1,budget=0.02"
        judge = f"openai:judge,base_url={server.url},api_key=none,concurrency=2,max_tokens=20,{priced}"

        with pytest.raises(BudgetSpent):
            on_two(replace(ASKED, judge=judge, limit=24), tmp_path)

    kept = episodes(tmp_path)
    assert 0 < len(kept) < 48
    assert all(episode["verdict"] for episode in kept.values())


def test_without_the_option_no_fleet_and_no_ray_is_imported() -> None:
    code = (
        "import sys; import profilegym.apps.eval, profilegym.fleet.driver, profilegym.fleet.local; "
        "assert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
