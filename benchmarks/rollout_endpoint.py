"""Part `endpoint` of `profilegym bench rollout`: 1,024 concurrent episodes over an endpoint with 50 ms latency,
beside bare clients that make the same calls.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import product
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import track
from rich.table import Table

from ..agents.agent import make_agent
from ..agents.models.endpoint import sampling_fields
from ..agents.models.model import STOPS
from ..agents.models.openai_policy import ServedModel
from ..agents.rollout import Job, Rollout
from ..envs.chat import Sampling
from ..envs.data import load_questions
from ..envs.episode import Episode
from ..envs.retrieval import make_retriever
from ..envs.trajectory import Trajectory
from .judge_clients import KEY, endpoint_with_limits
from .measurement import Target, at_least, at_most, no_old_garbage
from .rollout_server import SEARCHES
from .server_process import Server, serving

LATENCY = 0.05  # seconds
IN_FLIGHT = 1024
EPISODES = 1024
ROUNDS = 5
OUTAGE = 10.0  # seconds
TURNS = SEARCHES + 1
DATA = "world:seed=7,users=50/test"
SAMPLING = Sampling(temperature=1.0, max_tokens=256)

Chains = Callable[[int], Awaitable[object]]  # that many episodes, or as many times their calls in a row
System = Callable[[str], AbstractAsyncContextManager[Chains]]  # by the server's address


@asynccontextmanager
async def profilegym(url: str) -> AsyncIterator[Chains]:
    """Whole episodes: parsed, searched with bm25, recorded; every limit of the endpoint on."""
    model = ServedModel(endpoint_with_limits("policy", url, IN_FLIGHT), "completions")
    rollout = Rollout(model, make_retriever("bm25"), sampling=SAMPLING, in_flight=IN_FLIGHT)
    questions = list(load_questions(DATA))
    agent = make_agent("pr2")

    async def episodes(count: int) -> list[Trajectory]:
        jobs = (Job(questions[number % len(questions)], agent, number) for number in range(count))
        return [trajectory async for trajectory in rollout.run(jobs)]

    yield episodes
    await model.close()


@asynccontextmanager
async def openai_alone(url: str) -> AsyncIterator[Chains]:
    """The openai client on its aiohttp transport, without retries."""
    import openai

    async with openai.AsyncOpenAI(
        base_url=url, api_key=KEY, max_retries=0, http_client=openai.DefaultAioHttpClient()
    ) as client:
        body = request()

        async def call() -> str:
            return str((await client.completions.create(**body)).choices[0].text)

        yield in_a_row(call)


@asynccontextmanager
async def aiohttp_alone(url: str) -> AsyncIterator[Chains]:
    """A client with less overhead than this package's."""
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        body = request()

        async def call() -> str:
            async with client.post(f"{url}/completions", json=body) as response:
                return str((await response.json())["choices"][0]["text"])

        yield in_a_row(call)


SYSTEMS: dict[str, System] = {
    "profilegym": profilegym,
    "openai on aiohttp, bare": openai_alone,
    "aiohttp, bare": aiohttp_alone,
}


def request() -> dict[str, Any]:
    """One of the requests that an episode makes: the one of its second turn."""
    (question, *_) = load_questions(DATA)
    episode = Episode(question)
    episode.write("<search>what they like to do</search>")
    episode.add_hits(make_retriever("bm25").search(question.profile, episode.query, episode.fetch_k))
    text = "".join(segment.text for segment in episode.segments)
    return {"model": "policy", "prompt": text, "stop": list(STOPS["tags"]), **sampling_fields(SAMPLING)}


def in_a_row(call: Callable[[], Awaitable[str]]) -> Chains:
    """Chains of as many calls as an episode has turns, and as many chains at once as there may be episodes."""
    places = asyncio.Semaphore(IN_FLIGHT)

    async def chain() -> None:
        async with places:
            for _ in range(TURNS):
                await call()

    async def chains(count: int) -> None:
        await asyncio.gather(*(chain() for _ in range(count)))

    return chains


class Round(NamedTuple):
    """Episodes a second, and milliseconds of this process's own work for each call."""

    rate: float
    cpu: float


def interleaved() -> dict[str, list[Round]]:
    rounds: dict[str, list[Round]] = {}
    with serving("rollout_server", LATENCY) as server:
        turns = list(product(range(ROUNDS), SYSTEMS.items()))
        for _, (name, system) in track(turns, "endpoint", console=Console(stderr=True)):
            rounds.setdefault(name, []).append(asyncio.run(_round(system, server.url)))
    return rounds


async def _round(system: System, url: str) -> Round:
    async with system(url) as chains:
        await chains(IN_FLIGHT)  # opens connections, and lets the limiter of this package rise
        with no_old_garbage():
            start, worked = time.perf_counter(), time.process_time()
            await chains(EPISODES)
            rate = EPISODES / (time.perf_counter() - start)
            cpu = 1000 * (time.process_time() - worked) / (EPISODES * TURNS)
        return Round(rate, cpu)


def through_an_outage() -> dict[str, Any]:
    """Episodes whose endpoint stops in the middle and starts again."""

    async def run(server: Server) -> list[Trajectory]:
        async with profilegym(server.url) as episodes:
            played, _ = await asyncio.gather(episodes(EPISODES), asyncio.to_thread(_outage, server))
            return list(played)  # type: ignore[call-overload, no-any-return]

    with serving("rollout_server", LATENCY) as server:
        start = time.perf_counter()
        trajectories = asyncio.run(run(server))
        seconds = time.perf_counter() - start
    lost = [str(trajectory.error) for trajectory in trajectories if trajectory.ended != "answered"]
    return {"episodes": EPISODES, "outage": OUTAGE, "seconds": seconds, "lost": len(lost), "why": sorted(set(lost))[:3]}


def _outage(server: Server) -> None:
    """Begins when a third of the calls are made."""
    while server.counts()["answered"] < EPISODES * TURNS / 3:
        time.sleep(0.05)
    server.counts("stop")
    time.sleep(OUTAGE)
    server.counts("start")


def measure() -> dict[str, Any]:
    rounds = interleaved()
    pairs = zip(rounds["profilegym"], rounds["openai on aiohttp, bare"], strict=True)
    return {
        "episodes_a_second": {name: statistics.median(one.rate for one in its) for name, its in rounds.items()},
        "cpu_ms_a_call": {name: statistics.median(one.cpu for one in its) for name, its in rounds.items()},
        "over_bare": statistics.median(ours.rate / bare.rate for ours, bare in pairs),
        "if_only_latency_counted": IN_FLIGHT / (TURNS * LATENCY),
        "through_an_outage": through_an_outage(),
    }


def targets(result: dict[str, Any]) -> list[Target]:
    outage = result["through_an_outage"]
    return [
        at_least("over openai on aiohttp, bare", result["over_bare"], 0.85),
        at_most("episodes lost by the outage", outage["lost"], 0),
    ]


def report(result: dict[str, Any], console: Console) -> None:
    ideal = result["if_only_latency_counted"]
    table = Table(title=f"{IN_FLIGHT:,} episodes of {TURNS} turns in flight, {1000 * LATENCY:g} ms a turn")
    for title in ("", "episodes/s", "calls/s", "of the latency's limit", "CPU ms a call"):
        table.add_column(title, justify="right" if title else "left")
    for name, rate in {**result["episodes_a_second"], "the latency's limit": ideal}.items():
        cpu = result["cpu_ms_a_call"].get(name)
        figures = (f"{rate:,.0f}", f"{rate * TURNS:,.0f}", f"{rate / ideal:.2f}", f"{cpu:.2f}" if cpu else "–")
        table.add_row(name, *figures)
    console.print(table)
    outage = result["through_an_outage"]
    console.print(
        f"an outage of {outage['outage']:g} s among {outage['episodes']:,} episodes: {outage['lost']} lost, "
        f"{outage['seconds']:.1f} s in all"
    )
