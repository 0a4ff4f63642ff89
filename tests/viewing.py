"""A viewer on a port of its own, and somebody who asks it for pages."""

import asyncio
import http.client
import json
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from profilegym.evaluation.evaluate import Settings, evaluate
from profilegym.evaluation.run import RunDirectory

ORACLE = Settings(model="scripted:oracle", data="world:seed=7,users=20/test", limit=12)


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    text: str


class Viewer:
    """Asks as a browser would that was let in; any header can be another."""

    def __init__(self, port: int, token: str) -> None:
        self.port, self.token = port, token
        self.host = f"127.0.0.1:{port}"
        self.address = f"http://{self.host}"
        self.cookie: str | None = None

    def enter(self) -> "Viewer":
        answer = self.get(f"/?token={self.token}")
        self.cookie = answer.headers["set-cookie"].partition(";")[0]
        return self

    def get(self, path: str, **headers: str) -> Answer:
        return self._ask("GET", path, None, headers)

    def post(self, path: str, form: Mapping[str, Any] | None = None, **headers: str) -> Answer:
        headers = {"origin": self.address, "content-type": "application/x-www-form-urlencoded", **headers}
        return self._ask("POST", path, urlencode(form or {}), headers)

    def _ask(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Answer:
        sent = {"host": self.host, **({"cookie": self.cookie} if self.cookie else {}), **headers}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=True)
            for name, value in sent.items():
                if value:
                    connection.putheader(name, value)
            connection.putheader("content-length", str(len(body or "")))
            connection.endheaders((body or "").encode())
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, told, answer.read().decode("utf-8", "replace"))
        finally:
            connection.close()


@contextmanager
def viewing(*roots: Path, redact: bool = False) -> Iterator[Viewer]:
    """A server in a thread, and a viewer who has its token and no cookie yet."""
    import uvicorn

    from profilegym._util.loopback import listen
    from profilegym.apps.view.library import Library
    from profilegym.apps.view.server import guarded

    listening, token = listen(0), secrets.token_urlsafe(8)
    port = listening.getsockname()[1]
    app = guarded(Library(roots), port, token, redact)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield Viewer(port, token)
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def play(out: Path, settings: Settings = ORACLE) -> Path:
    asyncio.run(evaluate(settings, RunDirectory(out)))
    return out


def lines_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "trajectories.jsonl").read_text("utf-8").splitlines()]


def add(run: Path, *records: Mapping[str, Any]) -> None:
    with (run / "trajectories.jsonl").open("a", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record) + "\n")
