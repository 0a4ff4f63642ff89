"""Estimates time, cost and the first bottleneck of an evaluation before it is run."""

from dataclasses import dataclass

from ..errors import OptionError

MILLION = 1_000_000


@dataclass(frozen=True)
class Fleet:
    """What is asked, and what there is to answer it. Times are in seconds; prices are for a million tokens."""

    users: int
    questions: float = 3.0  # of each user
    seeds: int = 1
    baseline: bool = True
    endpoints: int = 1
    workers: int = 1
    in_flight: int = 256  # episodes of each worker
    turns: float = 3.0  # of a personalised episode; a baseline has one
    read: float = 1_500.0  # tokens that a turn reads
    written: float = 120.0  # tokens that a turn writes
    latency: float = 1.0  # of a turn, while the endpoint is not full
    tokens_per_second: float = 5_000.0  # that an endpoint writes, when it is full
    judge_calls: float = 3.0  # of an episode; 0 without a judge
    judge_latency: float = 1.0
    judge_concurrency: int = 64
    judge_read: float = 800.0  # tokens of a call
    judge_written: float = 100.0
    price_in: float = 0.0
    price_out: float = 0.0
    judge_price_in: float = 0.0
    judge_price_out: float = 0.0
    turn_processor: float = 0.0015  # of a worker, for each turn
    judge_processor: float = 0.001  # of the judge's process, for each call
    driver_processor: float = 0.0001  # for each episode

    def __post_init__(self) -> None:
        for name in ("users", "questions", "seeds", "endpoints", "workers", "in_flight", "judge_concurrency", "turns"):
            if getattr(self, name) <= 0:
                raise OptionError(f"{name}={getattr(self, name)!r} must be more than 0")
        if self.tokens_per_second <= 0:
            raise OptionError(f"tokens_per_second={self.tokens_per_second!r} must be more than 0")

    @property
    def asked(self) -> float:
        """Attempts at a question, each with its baseline."""
        return self.users * self.questions * self.seeds

    @property
    def episodes(self) -> float:
        return self.asked * (1 + self.baseline)

    @property
    def all_turns(self) -> float:
        return self.asked * (self.turns + self.baseline)


@dataclass(frozen=True)
class Estimate:
    """`parts`: the seconds that each part of the fleet alone would need; the longest is the first bottleneck."""

    episodes: float
    seconds: float
    bottleneck: str
    parts: dict[str, float]
    cost: float
    judge_cost: float


def estimate(fleet: Fleet) -> Estimate:
    """Each part works all the time while the slowest does, so the time is that of the slowest."""
    calls = fleet.episodes * fleet.judge_calls
    waiting = fleet.all_turns * fleet.latency + fleet.episodes * (fleet.judge_latency if fleet.judge_calls else 0.0)
    parts = {
        "endpoints": fleet.all_turns * fleet.written / (fleet.endpoints * fleet.tokens_per_second),
        "episodes in flight": waiting / (fleet.workers * fleet.in_flight),
        "workers' processors": fleet.all_turns * fleet.turn_processor / fleet.workers,
        "judge's concurrency": calls * fleet.judge_latency / fleet.judge_concurrency,
        "judge's processor": calls * fleet.judge_processor,
        "driver's processor": fleet.episodes * fleet.driver_processor,
    }
    bottleneck = max(parts, key=lambda part: parts[part])
    return Estimate(
        fleet.episodes,
        parts[bottleneck],
        bottleneck,
        parts,
        _price(fleet.all_turns, fleet.read, fleet.written, fleet.price_in, fleet.price_out),
        _price(calls, fleet.judge_read, fleet.judge_written, fleet.judge_price_in, fleet.judge_price_out),
    )


def _price(calls: float, read: float, written: float, price_in: float, price_out: float) -> float:
    return calls * (read * price_in + written * price_out) / MILLION
