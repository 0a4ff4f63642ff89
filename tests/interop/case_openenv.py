"""OpenEnv: its own server, asked over its WebSocket as its clients do."""

from typing import Any

from openenv.core.env_server.types import WSObservationResponse
from scripted import ASKED, Facts, Played, Script, driver_options, main, played
from starlette.testclient import TestClient

import profilegym as pg
from profilegym.interop.openenv import make_app

FACTS = Facts(
    "OpenEnv", ("openenv",), "by the trainer: `reset(kind=\"baseline\")`", "`reward: null`, the reason in `metadata`",
    "the trainer's",
)  # fmt: skip


def play(script: Script) -> Played:
    records: list[pg.Trajectory] = []
    app = make_app(**driver_options(script, records))
    with TestClient(app) as client, client.websocket_connect("/ws") as server:

        def tell(kind: str, **data: Any) -> dict[str, Any]:
            server.send_json({"type": kind, "data": data})
            return WSObservationResponse(**server.receive_json()).data

        replies = [tell("reset", question_id=ASKED)]
        replies += [tell("step", message=text) for text in script.texts("tags")]
    last = replies[-1]
    assert last["done"]
    shown = [reply["observation"]["text"] for reply in replies]
    return played(records[0], filter(None, shown), last["reward"], last["reward"] is None)


main(FACTS, play)
