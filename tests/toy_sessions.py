"""A server whose sessions say where they are, and a client that speaks ASGI with it."""

import asyncio
import os
from typing import Any

from profilegym.fleet.sessions import Front

SCOPE = {"type": "websocket", "path": "/ws", "query_string": b"", "headers": [], "asgi": {"version": "3.0"}}
_open = set[object]()


def make() -> Any:
    return _session


def broken() -> Any:
    raise ValueError("no data")


async def _session(scope: Any, receive: Any, send: Any) -> None:
    """Replies to `where` with the process, to `open` with its number of sessions; `hang` gets no reply."""
    me = object()
    _open.add(me)
    try:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["text"] != "end":
            if message["text"] == "hang":
                await asyncio.Event().wait()
            said = {"where": os.getpid(), "open": len(_open)}[message["text"]]
            await send({"type": "websocket.send", "text": str(said)})
        await send({"type": "websocket.close", "code": 1000})
    finally:
        _open.discard(me)


class Client:
    """A client's session, without a network."""

    def __init__(self, front: Front) -> None:
        self._requests, self.replies = asyncio.Queue[Any](), asyncio.Queue[Any]()
        self._requests.put_nowait({"type": "websocket.connect"})
        self.session = asyncio.ensure_future(front(SCOPE, self._requests.get, self.replies.put))

    def ask(self, text: str) -> None:
        self._requests.put_nowait({"type": "websocket.receive", "text": text})

    async def reply(self) -> Any:
        """The text of the next frame."""
        while (message := await self.replies.get())["type"] != "websocket.send":
            assert message["type"] == "websocket.accept", message
        return message["text"]

    async def tell(self, text: str) -> Any:
        self.ask(text)
        return await self.reply()

    async def leave(self) -> None:
        self._requests.put_nowait({"type": "websocket.disconnect", "code": 1006})
        await self.session
