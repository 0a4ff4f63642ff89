"""A tool on an MCP server, and an episode whose player calls it.

python examples/mcp_tool.py             # starts the server, plays an episode, prints the transcript
python examples/mcp_tool.py serve       # the server alone, over stdin and stdout
profilegym check tool "mcp:python examples/mcp_tool.py serve" --data world:seed=7/test
profilegym eval --tools "search_profile+mcp:python examples/mcp_tool.py serve" --data world:seed=7/test --out runs/mcp
"""

import shlex
import sys
from functools import cache
from typing import Annotated, Any

import gymnasium as gym
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from pydantic import Field

import profilegym as pg

DATA = "world:seed=7/test"
server = MCPServer("notes", log_level="WARNING")


@server.tool()
def by_month(month: Annotated[int, Field(ge=1, le=12, description="The month.")], context: Context) -> dict[str, Any]:
    """Read what the person wrote in one month."""
    user = dict(context.request_context.meta or {})["profilegym/user"]
    written = [document.id for document in history(user).documents if (document.date or "")[5:7] == f"{month:02}"]
    return {"documents": [{"id": document_id} for document_id in written]}


@cache
def history(user: str) -> pg.Profile:
    """The server's own store: the documents of each user."""
    return next(question.profile for question in pg.load_questions(DATA) if question.user_id == user)


def play() -> None:
    command = shlex.join([sys.executable, __file__, "serve"])
    env = gym.make(
        "profilegym/ProfileQA-v0", data=DATA, tools=f"search_profile+mcp:{command}", max_shown=5, render_mode="ansi"
    )
    env.reset(seed=7)
    env.step('<think>What happened in March?</think><tool>{"name": "by_month", "arguments": {"month": 3}}</tool>')
    _, reward, *_ = env.step("<answer>I cannot say.</answer>")
    print(env.render())
    print(f"reward {reward:.3f}")


if __name__ == "__main__":
    server.run() if sys.argv[1:] == ["serve"] else play()
