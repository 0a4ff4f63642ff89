"""Many episodes in flight: what the benchmark measures, and what an outage costs."""

import asyncio
from io import StringIO

import pytest
from rich.console import Console

from profilegym import Trajectory, load_questions, make_retriever
from profilegym.agents.agent import make_agent
from profilegym.agents.models import Endpoint
from profilegym.agents.models.openai_policy import ServedModel
from profilegym.agents.rollout import Job, Rollout
from profilegym.benchmarks import rollout_endpoint
from profilegym.benchmarks.rollout_endpoint import SYSTEMS, targets
from profilegym.benchmarks.rollout_server import play
from profilegym.testing import PolicyServer

DATA = "world:seed=7,users=20/test"


class Clock:
    """Goes on by a tenth of a second whenever the event loop comes round: on a slow machine it is slow as well."""

    def __init__(self) -> None:
        self.now, self._asleep = 0.0, list[tuple[float, asyncio.Event]]()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        up = asyncio.Event()
        self._asleep.append((self.now + seconds, up))
        await up.wait()

    async def tick(self) -> None:
        self.now += 0.1
        for end, up in self._asleep:
            if end <= self.now:
                up.set()
        self._asleep = [(end, up) for end, up in self._asleep if not up.is_set()]
        await asyncio.sleep(0.001)


def episodes_through(server: PolicyServer, outage: float, count: int = 64) -> list[Trajectory]:
    """Episodes whose endpoint dies for so many seconds when a third of the calls are made."""

    clock = Clock()

    async def die() -> None:
        while server.answered < count:
            await clock.tick()
        await asyncio.to_thread(server.stop)
        end = clock.now + outage
        while clock.now < end:
            await clock.tick()
        await asyncio.to_thread(server.start)
        while True:
            await clock.tick()

    async def run() -> list[Trajectory]:
        endpoint = Endpoint(
            "policy", base_url=server.url, api_key="any", concurrency=count,
            sleep=clock.sleep, clock=clock,
        )  # fmt: skip
        async with endpoint:
            rollout = Rollout(ServedModel(endpoint, "completions"), make_retriever("bm25"))
            questions, agent = load_questions(DATA), make_agent("pr2")
            jobs = [Job(questions[number % len(questions)], agent, number) for number in range(count)]
            dying = asyncio.create_task(die())
            played = [trajectory async for trajectory in rollout.run(jobs)]
            dying.cancel()
            return played

    return asyncio.run(run())


def test_an_endpoint_that_dies_for_ten_seconds_costs_time_and_no_episode() -> None:
    with PolicyServer(play, latency=0.01) as server:
        trajectories = episodes_through(server, outage=10.0)

    assert [trajectory.error for trajectory in trajectories if trajectory.ended != "answered"] == []
    assert len(trajectories) == 64


def test_every_contender_makes_as_many_calls_as_an_episode_has_turns() -> None:
    async def run(name: str, url: str) -> None:
        async with SYSTEMS[name](url) as chains:
            await chains(4)

    for name in SYSTEMS:
        with PolicyServer(play) as server:
            asyncio.run(run(name, server.url))
        assert server.answered == 4 * rollout_endpoint.TURNS, name


def broken(over_bare: float, lost: int) -> list[str]:
    """The targets that fail."""
    made = targets({"over_bare": over_bare, "through_an_outage": {"lost": lost}})
    return [target.name for target in made if not target.holds]


def test_a_claim_holds_at_its_bound_and_not_below_it() -> None:
    assert broken(0.85, lost=0) == []
    assert broken(0.84, lost=0) == ["over openai on aiohttp, bare"]
    assert broken(0.99, lost=1) == ["episodes lost by the outage"]


@pytest.mark.slow
def test_every_contender_is_measured_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"LATENCY": 0.001, "IN_FLIGHT": 8, "EPISODES": 24, "ROUNDS": 1, "OUTAGE": 0.05}
    for name, value in small.items():
        monkeypatch.setattr(rollout_endpoint, name, value)
    console = Console(file=StringIO(), width=120)

    result = rollout_endpoint.measure()
    rollout_endpoint.report(result, console)

    assert set(result) == {
        "episodes_a_second", "cpu_ms_a_call", "over_bare", "if_only_latency_counted", "through_an_outage",
    }  # fmt: skip
    assert set(result["episodes_a_second"]) == set(SYSTEMS)
    assert result["if_only_latency_counted"] == pytest.approx(8 / 0.003)
    assert result["through_an_outage"]["lost"] == 0
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(name in shown for name in SYSTEMS)
    assert "0 lost" in shown
