"""Workers as processes of this machine."""

import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

from .._util.sync import run_sync
from ..envs.reward import RewardFunction
from ..errors import OptionError
from ..rewards.judge import Score
from .judge import JudgeDesk, SharedJudge
from .pool import Outcome
from .socket_calls import Caller, Desk, socket_folder
from .worker import Worker

_JOIN = 5.0  # seconds until a worker that was told to end is killed


class LocalPool:
    """`local:N`: N processes. They end with the driver."""

    def __init__(self, workers: int | str) -> None:
        if not str(workers).isdigit() or int(workers) < 1:
            raise OptionError(f"local:{workers}: give the number of processes, such as local:2")
        self.size = int(workers)
        self._context = get_context("spawn")
        self._processes: dict[int, Any] = {}
        self._pipes: dict[int, Connection] = {}
        self._lock = Lock()  # two threads that wait for one process may both not see it end
        self._ended = False
        self._judge: tuple[JudgeDesk, Desk] | None = None

    def __enter__(self) -> Self:
        self._folder = socket_folder()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._ended = True
            for pipe in self._pipes.values():
                pipe.close()
            for process in self._processes.values():
                process.join(_JOIN if error is None else 0)
                process.kill()
                process.join()
                process.close()
        if self._judge is not None:
            desk, socket = self._judge
            run_sync(socket.close())
            run_sync(desk.close())
        self._folder.cleanup()

    def share_judge(self, spec: str) -> Callable[[], RewardFunction]:
        path = Path(self._folder.name) / "judge"
        if self._judge is None:
            desk = JudgeDesk(spec)
            self._judge = desk, run_sync(Desk.open(path, desk.answer))
        return partial(_asking, str(path), self._judge[0].name())

    def start(self, worker: int, kind: type = Worker) -> None:
        with self._lock:
            if self._ended:
                return
            if worker in self._processes:
                self._pipes.pop(worker).close()
                died = self._processes.pop(worker)
                died.kill()
                died.join()
                died.close()
            self._pipes[worker], theirs = self._context.Pipe()
            threads = max(1, (os.cpu_count() or 1) // self.size)
            process = self._context.Process(
                target=_work, args=(theirs, threads, kind), name=f"worker-{worker}", daemon=True
            )
            process.start()
            theirs.close()
            self._processes[worker] = process

    def call(self, worker: int, method: str, *arguments: Any) -> None:
        try:
            self._pipes[worker].send((method, arguments))
        except OSError:
            return  # it died, which `wait` finds

    def wait(self, seconds: float) -> Sequence[Outcome]:
        with self._lock:
            numbers = {pipe: number for number, pipe in self._pipes.items() if not pipe.closed}
            ready = connection.wait(list(numbers), seconds)
            return [self._outcome(numbers[pipe], pipe) for pipe in ready if isinstance(pipe, Connection)]

    def _outcome(self, worker: int, pipe: Connection) -> Outcome:
        try:
            return Outcome(worker, pipe.recv())
        except (EOFError, OSError):
            pipe.close()
            process = self._processes[worker]
            process.join(_JOIN)
            return Outcome(worker, died=f"its process ended with exit code {process.exitcode}")


def _work(pipe: Connection, threads: int, kind: type) -> None:
    """Serves calls until the driver is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # read when torch is imported
    worker = kind()
    while True:
        try:
            method, arguments = pipe.recv()
            pipe.send(getattr(worker, method)(*arguments))
        except (EOFError, OSError):
            os._exit(0)  # whatever it still plays, nobody records


def _asking(path: str, name: str) -> RewardFunction:
    return Score(SharedJudge(name, Caller(Path(path))))
