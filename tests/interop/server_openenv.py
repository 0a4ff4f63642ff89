"""OpenEnv's server of this package: its web page, and a session that is idle makes room for another."""

import os
import time
from typing import Any

os.environ["ENABLE_WEB_INTERFACE"] = "true"

from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from profilegym.interop.openenv import make_app

app = make_app("world:users=20/test", sessions=1, idle_seconds=1.0)


def reset(server: Any) -> str:
    server.send_json({"type": "reset", "data": {}})
    return str(server.receive_json()["type"])


with TestClient(app) as client:
    page = client.get("/web/")
    assert page.status_code == 200, page
    assert "gradio" in page.text.lower()
    with client.websocket_connect("/ws") as idle:
        assert reset(idle) == "observation"
        with client.websocket_connect("/ws") as refused:
            try:
                kind = reset(refused)
            except WebSocketDisconnect:
                kind = "closed"
            assert kind != "observation", "more sessions than allowed"
        end, kind = time.monotonic() + 30, ""
        while kind != "observation" and time.monotonic() < end:
            time.sleep(0.5)
            try:
                with client.websocket_connect("/ws") as other:
                    kind = reset(other)
            except WebSocketDisconnect:
                kind = "closed"
        assert kind == "observation", "an idle session holds its place"
print("the page is there, and an idle session was closed")
