"""`profilegym bench judge`: judgements per second at 50 ms latency beside other clients, in interleaved rounds."""

import asyncio
import statistics
import time
from itertools import product
from typing import Any

from rich.console import Console
from rich.table import Table

from .judge_clients import CLIENTS, Judge
from .measurement import Target, at_least, show
from .server_process import serving

LATENCY = 0.05  # seconds
SIZES = (16, 64, 256)  # judgements in flight
MANY = 1024  # this package alone
ROUNDS, WAVES = 5, 8  # rounds of each client at each size; judgements a round: waves × size, but at most MOST
MOST, MOST_OF_VERIFIERS = 768, 24
FAULTY = 1000  # judgements of the faulty run

Rates = dict[str, dict[int, list[float]]]  # client -> in flight -> judgements a second, by round


def judgements_a_second() -> tuple[Rates, dict[str, str]]:
    """Rates of each client at each size, round by round; and why a client is absent."""
    rates: Rates = {}
    absent: dict[str, str] = {}
    with serving("judge_server", LATENCY) as server:
        for _, n in product(range(ROUNDS), (*SIZES, MANY)):
            for name in CLIENTS if n in SIZES else ["profilegym"]:
                if name in absent:
                    continue
                try:
                    rate = asyncio.run(_rate(name, server.url, n))
                except ImportError as error:
                    absent[name] = f"not installed ({error})"
                else:
                    rates.setdefault(name, {}).setdefault(n, []).append(rate)
    return rates, absent


async def _rate(name: str, url: str, n: int) -> float:
    most = MOST_OF_VERIFIERS if name == "verifiers" else max(n, MOST)
    count = min(n * WAVES, most)
    async with CLIENTS[name](url, n) as judge:
        await _all(judge, min(n, count))  # opens connections, and lets the limiter of this package rise
        start = time.perf_counter()
        await _all(judge, count)
        return count / (time.perf_counter() - start)


async def _all(judge: Judge, count: int) -> list[int]:
    return await asyncio.gather(*(judge() for _ in range(count)))


def among_faults() -> dict[str, int]:
    """Judgements lost and judgements paid for twice, with 5 % of 429 and 500 and 1 % of malformed replies."""

    async def run(url: str) -> list[int]:
        async with CLIENTS["profilegym"](url, 64) as judge:
            return await _all(judge, FAULTY)

    with serving("judge_server", LATENCY, "FAULTY") as server:
        matches = asyncio.run(run(server.url))
        counts = server.counts()
    judged = sum(match == 2 for match in matches)
    return {
        "asked": FAULTY,
        "lost": FAULTY - judged,
        "doubled": counts["answered"] - judged,
        "requests": counts["requests"],
    }


def targets(rates: Rates, faults: dict[str, int]) -> list[Target]:
    """A ratio is the median of the ratios of the rounds."""

    def over(peer: str, n: int) -> float:
        return statistics.median(a / b for a, b in zip(rates["profilegym"][n], rates[peer][n], strict=True))

    made = [at_least(f"over openai on aiohttp, bare, at {n}", over("openai on aiohttp, bare", n), 0.95) for n in SIZES]
    made += [
        at_least(f"over openai, tenacity at {n}", over("openai, tenacity", n), bound)
        for n, bound in ((64, 1.3), (256, 2))
    ]
    ours = rates["profilegym"]
    many = statistics.median(a / b for a, b in zip(ours[MANY], ours[256], strict=True))
    made.append(at_least("at 1,024 over at 256", many, 0.8))
    if "verifiers" in rates:
        made.append(at_least("over verifiers at 64", over("verifiers", 64), 15))
    once = (faults["asked"] - faults["lost"] - faults["doubled"]) / faults["asked"]
    return [*made, at_least("judged once among faults", once, 1)]


def main(as_json: bool) -> None:
    rates, absent = judgements_a_second()
    faults = among_faults()
    medians = {name: {n: statistics.median(rounds) for n, rounds in its.items()} for name, its in rates.items()}
    result = {"judgements_a_second": medians, "absent": absent, "among_faults": faults}
    show(result, targets(rates, faults), as_json, _report)


def _report(result: dict[str, Any], console: Console) -> None:
    table = Table(title="Judgements a second at 50 ms latency (and the share of in flight / latency)")
    table.add_column("")
    sizes = (*SIZES, MANY)
    for n in sizes:
        table.add_column(f"{n:,} in flight", justify="right")
    for name, rates in result["judgements_a_second"].items():
        table.add_row(name, *(f"{rates[n]:,.0f} ({rates[n] * LATENCY / n:.2f})" if n in rates else "–" for n in sizes))
    console.print(table)
    for name, why in result["absent"].items():
        console.print(f"{name}: {why}", style="dim")
    faults = result["among_faults"]
    console.print(
        f"among faults: {faults['asked']:,} asked in {faults['requests']:,} requests, {faults['lost']} lost, "
        f"{faults['doubled']} doubled"
    )
