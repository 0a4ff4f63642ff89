"""`profilegym serve env`: OpenEnv's server for a data set, in this process or with its sessions on several."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import uvicorn

from .._util.loopback import listen
from ..envs.data import load_questions
from ..envs.reward import RewardFunction
from ..errors import OptionError
from ..evaluation.evaluate import Settings, reward_for, sum_up
from ..evaluation.run import RunDirectory
from ..fleet.local import LocalPool
from ..fleet.sessions import Application, Front, Message, Receive, Send
from ..fleet.socket_calls import socket_folder

_NAMES = ("127.0.0.1", "localhost")  # of a server that only this machine reaches
_END = 5  # seconds that connections have to end


@dataclass(frozen=True)
class Served:
    """What is served. `sessions` may be open at a time, each until it was idle for `idle` seconds.

    Episodes that end are recorded in the run directory `out`, if there is one.
    """

    data: str
    judge: str | None = None
    retriever: str = "bm25"
    sessions: int = 256
    idle: float = 600.0
    options: Mapping[str, Any] = field(default_factory=dict)  # of episodes
    out: Path | None = None
    asking: Callable[[], RewardFunction] | None = None  # makes the reward; by default, that of judge and metric
    metric: str | None = None

    def application(self) -> Application:
        questions = load_questions(self.data)  # an unknown data set is told before a missing judge
        reward = self.asking() if self.asking else reward_for(self._as_evaluation)
        make = import_module("profilegym.interop.openenv").make_app  # an extra, so its name is not imported
        recorded = None if self.out is None else RunDirectory(self.out).writer().write
        app: Application = make(
            questions, retriever=self.retriever, reward=reward, sessions=self.sessions, idle_seconds=self.idle,
            recorded=recorded, **self.options,
        )  # fmt: skip
        return app

    @property
    def settings(self) -> dict[str, Any]:
        """What the run directory says of its episodes. Who played them is not known here."""
        return asdict(self._as_evaluation) | {"served": "env"}

    @property
    def _as_evaluation(self) -> Settings:
        named = {name: getattr(self, name) for name in ("data", "judge", "metric", "retriever")}
        return Settings(model="openenv", **named, **self.options)

    def in_worker(self) -> Application:
        """Without the web page, which the first process has."""
        os.environ["ENABLE_WEB_INTERFACE"] = "false"
        return self.application()


class WithoutOtherSites:
    """Refuses what a page of another site sends to a server of this machine: it could read posts, as no one logs in."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or _is_own(dict(scope["headers"])):
            await self._application(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": b"this was sent by a page of another site"})


def _is_own(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request names this machine, and comes from no page or from one of this server."""
    host, origin = headers.get(b"host", b"").decode("latin-1"), headers.get(b"origin")
    return host.partition(":")[0] in _NAMES and origin in (None, f"http://{host}".encode("latin-1"))


def serve(served: Served, workers: int | None, host: str, port: int) -> None:
    """Serve until interrupted or terminated. No process is left behind."""
    if workers is not None and not 1 <= workers <= served.sessions:
        raise OptionError(f"--workers {workers}: give 1 to {served.sessions}, the number of sessions")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with suppress(KeyboardInterrupt), listen(port, host) as listening, _recording(served):
        if workers is None:
            application = served.application()
            _tell(listening, served, "this process")
            asyncio.run(_run(application, listening))
        else:
            _serve_by(workers, served, listening)


@contextmanager
def _recording(served: Served) -> Iterator[None]:
    """Sums up what was recorded when the server ends."""
    if served.out is None:
        yield
        return
    run = RunDirectory(served.out)
    with run.writing_episodes(served.settings):
        try:
            yield
        finally:
            if next(run.trajectories(), None) is not None:
                sum_up(run)


def _serve_by(workers: int, served: Served, listening: socket.socket) -> None:
    with socket_folder() as folder, LocalPool(workers) as pool:
        if served.judge is not None and served.judge.partition(",")[0] != "rubric":  # which has no limits
            served = replace(served, asking=pool.share_judge(served.judge))
        front = Front(served.application(), pool, served.in_worker, Path(folder), served.sessions, served.idle)
        front.start()
        _tell(listening, served, f"{workers} workers")
        asyncio.run(_run_front(front, listening))


async def _run_front(front: Front, listening: socket.socket) -> None:
    replacing = asyncio.create_task(front.replace())
    try:
        await _run(front, listening)
    finally:
        replacing.cancel()


async def _run(application: Application, listening: socket.socket) -> None:
    if listening.getsockname()[0] in _NAMES:
        application = WithoutOtherSites(application)
    config = uvicorn.Config(
        application, log_level="error", access_log=False, server_header=False, timeout_graceful_shutdown=_END
    )
    await uvicorn.Server(config).serve(sockets=[listening])


def _tell(listening: socket.socket, served: Served, where: str) -> None:
    host, port = listening.getsockname()
    print(  # noqa: T201 (a person reads it)
        f"http://{host}:{port} serves {served.data}, sessions in {where}. Ctrl-C ends the server.",
        file=sys.stderr, flush=True,
    )  # fmt: skip
