"""An MCP server made with the SDK's own class, for tests: python tests/mcp_server.py USERS.json [FAULT]"""

import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import anyio
import uvicorn
from mcp.server import MCPServer, Server
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

Users = dict[str, list[dict[str, Any]]]
Month = Annotated[int, Field(ge=1, le=12, description="The month.")]
Year = Annotated[int | None, Field(description="The year; without it, any.")]


def make_server(users: Users, fault: str = "") -> MCPServer:
    """Answers with the documents of the user that a call names in `_meta`. A `fault` makes it wrong in one way."""
    server = MCPServer("notes", log_level="WARNING")

    @server.tool()
    async def by_month(month: Month, context: Context, year: Year = None) -> dict[str, Any]:
        """Read what the person wrote in one month."""
        match fault:
            case "hangs":
                await anyio.sleep_forever()
            case "lies" if month < 3:
                raise ToolError("a month from 3 on")
            case "dies":
                os._exit(1)
            case "no ids":
                return {"documents": [{"text": "tea"}]}
        date = f"{year or ''}-{month:02}-"
        found = [one for one in documents(users, context, fault) if date in one["date"]]
        return {"documents": [{"id": one["id"], "text": one["text"]} for one in found]}

    @server.tool()
    def newest(context: Context) -> str:
        """Read what the person wrote last."""
        return str(documents(users, context, fault)[-1]["text"])

    return server


def documents(users: Users, context: Context, fault: str) -> list[dict[str, Any]]:
    user = dict(context.request_context.meta or {})["profilegym/user"]
    return users[max(users) if fault == "ignores the user" else str(user)]


@contextmanager
def over_http(server: MCPServer | Server[Any], port: int = 0) -> Iterator[str]:
    """Serves on a free port of loopback, from a thread; yields the URL."""
    config = uvicorn.Config(server.streamable_http_app(), port=port, log_level="warning", timeout_graceful_shutdown=1)
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        while not running.started:
            thread.join(0.01)
        yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}/mcp"
    finally:
        running.should_exit = True
        thread.join()


if __name__ == "__main__":
    make_server(json.loads(Path(sys.argv[1]).read_text("utf-8")), *sys.argv[2:]).run()
