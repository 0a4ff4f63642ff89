"""Workers as actors of a Ray cluster."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from hashlib import blake2b
from secrets import token_hex
from types import TracebackType
from typing import Any, Self

from ..envs.reward import RewardFunction
from ..errors import FleetError, MissingExtra, OptionError
from ..rewards.judge import Pair, Score
from ..rewards.registry import make_judge
from .judge import JudgeDesk, Reply, SharedJudge, Spent
from .pool import Outcome
from .worker import Worker

NAMESPACE = "profilegym"
_REPLY = 10.0  # seconds that the judge has to say who needs it
STORE = 100 * 2**20  # bytes of the object store of a cluster that is started here: nothing large goes through it
JUDGE_CALLS = 10_000  # that an actor admits at a time; Ray queues others without a word
JUDGE_IDLE = 600.0  # seconds without a question until the judge of an abandoned run ends
HELD = 180.0  # seconds that a driver's word counts that it needs the judge; it gives it three times as often


class RayPool:
    """`ray[:ADDRESS],workers=N,cpus=1,gpus=0,place=60`: actors, by default one for each CPU or GPU that is there.

    Without an address, a running cluster is used (`RAY_ADDRESS`, or one of this machine), or else one is started here
    for the run, which the address `local` always does. `cpus` and `gpus` are what each worker needs, `place` the
    seconds to wait for them.
    """

    def __init__(
        self, address: str | None = None, *, workers: int | None = None, cpus: float = 1, gpus: float = 0,
        place: float = 60.0,
    ) -> None:  # fmt: skip
        if workers is not None and workers < 1:
            raise OptionError(f"ray:workers={workers!r}: give a whole number of at least 1")
        try:
            import ray
        except ImportError as error:
            raise MissingExtra("--on ray", "ray") from error
        self.size = workers or 0
        self._ray, self._address = ray, address
        self._needs, self._place = {"CPU": cpus, "GPU": gpus}, place
        self._actors: dict[int, Any] = {}
        self._unplaced: dict[int, Any] = {}  # replies to the first call of actors
        self._calls: dict[Any, int] = {}
        self._judge: Any = None
        self._driver, self._held_at = token_hex(4), 0.0
        self._placed_at = 0.0  # when the last actor was placed or asked for
        self._all_placed = False

    def __enter__(self) -> Self:
        self._connected_before = self._ray.is_initialized()
        if not self._connected_before:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            self._connect()
        self.size = self.size or self._room()
        self._placed_at = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for actor in self._actors.values():
            self._ray.kill(actor)
        if self._judge is not None and not self._others_need_it():
            self._ray.kill(self._judge)
        if not self._connected_before:
            self._ray.shutdown()

    def share_judge(self, spec: str) -> Callable[[], RewardFunction]:
        """A named, detached actor on the driver's node: a driver that is started again finds it with its limits.

        So does another driver in the same folder, at the same time.
        """
        name = f"judge-{blake2b(f'{os.getcwd()} {spec}'.encode(), digest_size=8).hexdigest()}"
        if self._judge is None:
            make_judge(spec)  # one that cannot be made is an error of the driver
            node = self._ray.get_runtime_context().get_node_id()
            here = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=True)
            options = {"name": name, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
            actor = self._ray.remote(JudgeActor).options(
                num_cpus=0, max_concurrency=JUDGE_CALLS, scheduling_strategy=here, **options
            )
            keys = {key: value for key, value in os.environ.items() if key.startswith("OPENAI_")}
            self._judge = actor.remote(spec, os.getcwd(), keys)
        return partial(_asking, name, self._ray.get(self._judge.hold.remote(self._driver)))

    def _others_need_it(self) -> bool:
        """Whether other drivers ask the judge, too. One that gives no reply is left to end by itself."""
        try:
            return bool(self._ray.get(self._judge.release.remote(self._driver), timeout=_REPLY))
        except self._ray.exceptions.RayError:
            return True

    def _hold_judge(self) -> None:
        """This driver needs it, though its workers may ask nothing for long."""
        if self._judge is not None and time.monotonic() - self._held_at > HELD / 3:
            self._held_at = time.monotonic()
            self._judge.hold.remote(self._driver)

    def start(self, worker: int, kind: type = Worker) -> None:
        if worker in self._actors:
            self._ray.kill(self._actors.pop(worker))
        actor = self._ray.remote(kind).options(
            num_cpus=self._needs["CPU"], num_gpus=self._needs["GPU"], scheduling_strategy="SPREAD", max_concurrency=1,
        )  # fmt: skip
        self._actors[worker] = actor.remote()
        self._unplaced[worker] = self._actors[worker].ready.remote()
        self._placed_at = time.monotonic()

    def call(self, worker: int, method: str, *arguments: Any) -> None:
        self._calls[getattr(self._actors[worker], method).remote(*arguments)] = worker

    def wait(self, seconds: float) -> Sequence[Outcome]:
        self._check_placed()
        self._hold_judge()
        calls = list(self._calls)
        ready, _ = self._ray.wait(calls, num_returns=1, timeout=seconds)
        if ready:
            ready, _ = self._ray.wait(calls, num_returns=len(calls), timeout=0)
        return [self._outcome(call) for call in ready]

    def _outcome(self, call: Any) -> Outcome:
        worker = self._calls.pop(call)
        try:
            return Outcome(worker, self._ray.get(call))
        except self._ray.exceptions.RayTaskError:
            raise
        except self._ray.exceptions.RayError as error:
            self._unplaced.pop(worker, None)
            return Outcome(worker, died=f"{type(error).__name__}: {error}".strip().splitlines()[0])

    def _check_placed(self) -> None:
        """Raises `FleetError` where actors wait too long: at first any of them, later only if no other works."""
        if not self._unplaced:
            return
        numbers = {reply: worker for worker, reply in self._unplaced.items()}
        ready, _ = self._ray.wait(list(numbers), num_returns=len(numbers), timeout=0)
        for reply in ready:
            del self._unplaced[numbers[reply]]
            self._placed_at = time.monotonic()
        self._all_placed = self._all_placed or not self._unplaced
        nobody_works = self._unplaced.keys() >= set(self._calls.values())
        if (not self._all_placed or nobody_works) and time.monotonic() - self._placed_at > self._place:
            raise FleetError(self._missing())

    def _missing(self) -> str:
        there, free = self._ray.cluster_resources(), self._ray.available_resources()
        needs = _amounts(self._needs)
        return (
            f"{len(self._unplaced)} of {self.size} workers were not placed within {self._place:g} s: each needs {needs}"
            f"; the cluster has {_amounts(there)}, of which {_amounts(free)} are free (Ray {self._ray.__version__}); "
            "ask for fewer with --on ray:workers=N, or for less with cpus= and gpus="
        )

    def _room(self) -> int:
        """How many workers the cluster can hold."""
        there = self._ray.cluster_resources()
        room = min((int(there.get(name, 0) // amount) for name, amount in self._needs.items() if amount), default=1)
        return max(1, room)

    def _connect(self) -> None:
        address = self._address or os.environ.get("RAY_ADDRESS") or "auto"
        try:
            try:
                self._init(address)
            except ConnectionError:
                if address != "auto":
                    raise
                self._init("local")
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = "this machine" if address in ("auto", "local") else address
            raise FleetError(f"no Ray cluster at {where} (Ray {self._ray.__version__}): {error}") from error

    def _init(self, address: str) -> None:
        started = {"object_store_memory": STORE, "include_dashboard": False} if address == "local" else {}
        self._ray.init(address, namespace=NAMESPACE, log_to_driver=False, logging_level="ERROR", **started)


class JudgeActor:
    """The judge of a fleet. It ends when no driver needs it and nobody has asked it for a while."""

    def __init__(self, spec: str, folder: str, keys: dict[str, str]) -> None:
        if os.path.isdir(folder):
            os.chdir(folder)
        os.environ.update(keys)
        self._desk = JudgeDesk(spec)
        self._inside, self._asked_at = 0, time.monotonic()
        self._held: dict[str, float] = {}  # by driver, when it said so last
        self._watching: Awaitable[None] | None = None

    async def hold(self, driver: str) -> str:
        """A driver needs the judge; gives its name."""
        self._held[driver] = time.monotonic()
        self._watching = self._watching or asyncio.ensure_future(self._watch())
        return self._desk.name()

    async def release(self, driver: str) -> bool:
        """A driver does not need it any more; whether another does."""
        self._held.pop(driver, None)
        return self._is_held()

    async def answer(self, pairs: Sequence[Pair]) -> list[Reply] | Spent:
        self._inside += 1
        try:
            return await self._desk.answer(pairs)
        finally:
            self._inside -= 1
            self._asked_at = time.monotonic()

    def _is_held(self) -> bool:
        return any(time.monotonic() - said < HELD for said in self._held.values())

    async def _watch(self) -> None:
        while self._inside or self._is_held() or time.monotonic() - self._asked_at < JUDGE_IDLE:
            await asyncio.sleep(JUDGE_IDLE / 10)
        os._exit(0)


def _asking(name: str, judge: str) -> RewardFunction:
    import ray

    actor: Any = ray.get_actor(name, NAMESPACE)

    def ask(pairs: Sequence[Pair]) -> Awaitable[Any]:
        asked: Awaitable[Any] = actor.answer.remote(pairs)
        return asked

    return Score(SharedJudge(judge, ask))


def _amounts(resources: Any) -> str:
    return " and ".join(f"{resources.get(name, 0):g} {name}" for name in ("CPU", "GPU"))
