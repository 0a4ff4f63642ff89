"""OpenEnv: sessions of its own server, asked over its WebSocket."""

from typing import Any

from cost import ASKED, DATA, PROMPT, TURNS, Exact, compare, found, inside, right
from openenv.core.env_server import Action, Environment, Observation, State, create_app
from starlette.testclient import TestClient

from profilegym.interop.openenv import make_app


class Write(Action):
    message: str


class Shown(Observation):
    text: str


class Smallest(Environment[Write, Shown, State]):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def reset(self, seed: int | None = None, episode_id: str | None = None, **_: Any) -> Shown:
        return Shown(text=PROMPT)

    def step(self, action: Write, timeout_s: float | None = None, **_: Any) -> Shown:
        if query := inside(action.message, "search"):
            return Shown(text=found(query))
        return Shown(text="", done=True, reward=right(inside(action.message, "answer") or ""))

    @property
    def state(self) -> State:
        return State()


def played(server: Any) -> float:
    def tell(kind: str, **data: Any) -> Any:
        server.send_json({"type": kind, "data": data})
        return server.receive_json()["data"]

    tell("reset", question_id=ASKED.id)
    for turn in TURNS:
        told = tell("step", message=turn)
    assert told["done"]
    return float(told["reward"])


with (
    TestClient(create_app(Smallest, Write, Shown)) as theirs,
    TestClient(make_app(DATA, reward=Exact())) as mine,
    theirs.websocket_connect("/ws") as smallest,
    mine.websocket_connect("/ws") as ours,
):
    compare("OpenEnv", lambda: played(smallest), lambda: played(ours), 20)
