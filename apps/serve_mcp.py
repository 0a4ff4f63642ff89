"""`profilegym serve mcp`: an MCP server that offers the tools and the question of one episode to any MCP client."""

import asyncio
import sys
from dataclasses import replace
from typing import Any

import uvicorn
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    ListToolsResult,
    PaginatedRequestParams,
    Prompt,
    PromptMessage,
    TextContent,
    Tool,
)

from .._util.loopback import listen
from ..agents.models.model import Turn
from ..agents.turn_format import call_tool
from ..envs.tools import Toolset
from ..envs.tools.search_profile import search_profile
from ..errors import ProfileGymError
from .play.game import Game
from .play.session import PlaySession

PLAYER = "mcp"  # the agent of the record
PROMPT = "question"
_SEARCH_ALONE = replace(search_profile, arguments=(search_profile.by_name["query"],))
Context = ServerRequestContext[Any]


async def serve(session: PlaySession, port: int | None) -> None:
    """Serves one episode over stdin and stdout until they are closed, or on a port until interrupted."""
    game = await session.begin(session.question_id or session.first())
    server = make_server(game)
    try:
        if port is None:
            async with stdio_server() as (read, write):
                await server.run(read, write, server.create_initialization_options())
        else:
            await _over_http(server, port)
    finally:
        await session.close()
        _tell(session.saved_games)


def make_server(game: Game) -> Server[Any]:
    """The episode's tools and `answer`. Mistakes use up turns, as those of any policy; the score is not told."""
    tools = game.episode.tools or Toolset([_SEARCH_ALONE])
    asked = game.episode.segments[0].text.strip()
    one_at_a_time = asyncio.Lock()

    async def list_tools(context: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        functions = [schema["function"] for schema in tools.schemas]
        return ListToolsResult(
            tools=[Tool(name=f["name"], description=f["description"], input_schema=f["parameters"]) for f in functions]
        )

    async def call(context: Context, params: CallToolRequestParams) -> CallToolResult:
        async with one_at_a_time:
            try:
                text, failed = await _play(game, params.name, params.arguments or {}), False
            except ProfileGymError as error:
                text, failed = f"The environment failed, and the turn does not count: {error}", True
        return CallToolResult(content=[TextContent(text=text)], is_error=failed)

    async def list_prompts(context: Context, params: PaginatedRequestParams | None) -> ListPromptsResult:
        return ListPromptsResult(prompts=[Prompt(name=PROMPT, description="The question, and how to answer it.")])

    async def get_prompt(context: Context, params: GetPromptRequestParams) -> GetPromptResult:
        return GetPromptResult(messages=[PromptMessage(role="user", content=TextContent(text=asked))])

    return Server(
        "profilegym",
        instructions=asked,
        on_list_tools=list_tools,
        on_call_tool=call,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
    )


async def _play(game: Game, tool: str, arguments: dict[str, Any]) -> str:
    """What the policy reads after the call."""
    if game.over:
        return "The episode is over."
    await game.write(Turn(call_tool(tool, arguments, "", game.episode.protocol)), PLAYER)
    match game.episode.ended:
        case None:
            return game.episode.observation.strip()
        case "answered":
            return "The answer is recorded. The episode is over."
        case _:
            return "No turns are left. The episode is over."


async def _over_http(server: Server[Any], port: int) -> None:
    listening = listen(port)
    _tell(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp\nCtrl-C ends the server.")
    config = uvicorn.Config(server.streamable_http_app(), log_level="error", access_log=False, server_header=False)
    await uvicorn.Server(config).serve(sockets=[listening])


def _tell(text: str) -> None:
    """On stderr, as the protocol may have stdout."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 (a person reads it)
