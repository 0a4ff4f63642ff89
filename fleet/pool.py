"""Where the workers of a fleet run: what a pool of workers does, and the pools by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from .._util.registry import Registry
from ..envs.reward import RewardFunction
from .worker import Worker

POOLS = Registry(
    "place to run", {"local": "profilegym.fleet.local:LocalPool", "ray": "profilegym.fleet.on_ray:RayPool"}
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call: what the method returned, or the reason why the worker died."""

    worker: int
    report: Any = None
    died: str | None = None


class Pool(Protocol):
    """Workers by number. A call does not wait; its outcome is among those that `wait` returns."""

    size: int

    def __enter__(self) -> Self:
        """Connects, and learns `size`."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def share_judge(self, spec: str) -> Callable[[], RewardFunction]:
        """Makes the one judge of the fleet; returns what makes a worker's reward that asks it."""
        ...

    def start(self, worker: int, kind: type = Worker) -> None:
        """Starts a worker of a class, anew if it died."""
        ...

    def call(self, worker: int, method: str, *arguments: Any) -> None:
        """Calls a method of the worker; one call at a time for each worker."""
        ...

    def wait(self, seconds: float) -> Sequence[Outcome]:
        """The outcomes so far; waits where there is none. Raises `FleetError` where workers cannot be placed."""
        ...


def make_pool(spec: str) -> Pool:
    """The pool that a spec names: `local:4`, `ray`, `ray:ADDRESS,workers=8,gpus=1`."""
    pool: Pool = POOLS.make(spec)
    return pool
