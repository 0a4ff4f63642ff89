"""MCP tools: those of an MCP server, by command or URL, called for the user of the episode."""

import asyncio
import json
import re
import shlex
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from weakref import WeakKeyDictionary

from ..._util.keys import hidden
from ..._util.sync import run_sync
from ...errors import BadArgument, DataError, MissingExtra, OptionError, ToolError
from ..question import Profile
from ..text import clean
from .json_schema import arguments_of
from .served import REFUSAL_CHARS, served_result
from .tool import Result, Tool

if TYPE_CHECKING:
    import mcp
    from mcp.types import CallToolResult

USER, PROFILE = "profilegym/user", "profilegym/profile"  # keys in `_meta` of a call
_MOST_PAGES = 100  # of a list of tools
_START_SECONDS = 30.0  # at least, for a server to start
_LOG_CHARS = 300  # of a server's stderr in an error
T = TypeVar("T")


@dataclass(frozen=True)
class McpServer:
    """A server: a command that speaks over stdin and stdout, or a URL. `timeout` is that of a call, in seconds.

    `errors`: who is at fault where the server answers that a call failed: the policy, which reads why, or the server,
    which leaves the episode unscored.
    """

    name: str
    command: tuple[str, ...] = ()
    url: str = ""
    env: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    timeout: float = 30.0
    errors: Literal["policy", "ours"] = "policy"

    async def listed(self) -> "dict[str, mcp.types.Tool]":
        """What it says of its tools, by the names that they have here."""
        listed = await _request(self, _all_tools)
        return {re.sub(r"\W", "_", tool.name, flags=re.ASCII)[:64]: tool for tool in listed}

    def tool(self, name: str, about: "mcp.types.Tool") -> Tool:
        described = clean(about.description or about.title or about.name)
        arguments = arguments_of(about.name, about.input_schema)
        return Tool(name, described, arguments, partial(_call, self, about.name), is_async=True)


def mcp_tools(where: str = "", *, only: str = "", timeout: float = 30.0, errors: Any = "policy") -> list[Tool]:
    """The tools of `http://host/mcp`, of a command, or of the servers in a JSON file with `mcpServers`.

    `only` names some of the tools, joined by `|`.
    """
    if not where.strip():
        raise OptionError("mcp: names no server: give mcp:http://host/mcp, mcp:COMMAND or mcp:servers.json")
    if errors not in ("ours", "policy"):
        raise OptionError(f"errors={errors!r}: give policy or ours")
    if timeout <= 0:
        raise OptionError(f"timeout={timeout}: give a number of seconds above 0")
    servers = [McpServer(**fields, timeout=timeout, errors=errors) for fields in _servers(where)]
    found = [(server, *one) for server in servers for one in run_sync(server.listed()).items()]
    wanted = [name for name in only.split("|") if name]
    if unknown := set(wanted) - {name for _, name, _ in found}:
        names = ", ".join(name for _, name, _ in found)
        raise OptionError(f"{where} has no tool {', '.join(map(repr, sorted(unknown)))}; it has {names}")
    return [server.tool(name, about) for server, name, about in found if not wanted or name in wanted]


def close_connections() -> None:
    """Closes the connections to all servers, and ends those that were started. The end of the process does so, too."""
    run_sync(_close_all())


def _servers(where: str) -> list[dict[str, Any]]:
    if re.match(r"https?://", where):
        return [{"name": where, "url": where}]
    if where.endswith(".json"):
        return _configured(Path(where))
    try:
        command = tuple(shlex.split(where))
    except ValueError as error:
        raise OptionError(f"{hidden(where)!r} is no command: {error}") from error
    if not command:
        raise OptionError("an MCP server needs a URL, a command or a JSON file: mcp:http://127.0.0.1:8000/mcp")
    return [{"name": where, "command": command}]


def _configured(path: Path) -> list[dict[str, Any]]:
    """The file that MCP clients have in common."""
    try:
        configuration = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {error}") from error
    match configuration:
        case {"mcpServers": dict(servers)} if servers:
            return [_configured_server(path, name, fields) for name, fields in servers.items()]
    raise DataError(f'{path} names no server: write {{"mcpServers": {{"mine": {{"command": …, "args": […]}}}}}}')


def _configured_server(path: Path, name: str, fields: Any) -> dict[str, Any]:
    match fields:
        case {"url": str(url)}:
            return {"name": name, "url": url, "headers": tuple((fields.get("headers") or {}).items())}
        case {"command": str(command)}:
            started = (command, *(fields.get("args") or []))
            return {"name": name, "command": started, "env": tuple((fields.get("env") or {}).items())}
    raise DataError(f"{path}: the server {name!r} needs a 'command' with 'args', or a 'url'")


async def _all_tools(client: "mcp.Client") -> "list[mcp.Tool]":
    tools: list[Any] = []
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        if (cursor := page.next_cursor) is None:
            break
    return tools


async def _call(server: McpServer, tool: str, profile: Profile, /, **arguments: Any) -> Result:
    """The user goes along beside the arguments, which are the policy's.

    A server refuses arguments by a result that is an error, or by the error "invalid params". Any other error, a late
    answer and a broken connection are the server's.
    """
    meta: Any = {USER: profile.user_id, PROFILE: profile.digest.hex()}
    try:
        result = await _request(server, lambda client: client.call_tool(tool, arguments, meta=meta))
    except ToolError as error:
        if server.errors == "policy" and (reason := _invalid_params(error.__cause__)) is not None:
            raise BadArgument(reason[:REFUSAL_CHARS]) from error
        raise
    text = "\n".join(block.text if block.type == "text" else f"[{block.type}]" for block in result.content)
    if result.is_error:
        if server.errors == "policy":
            raise BadArgument(text[:REFUSAL_CHARS])
        raise ToolError(f"it reported an error: {text:.300}")
    return _result(result, text, profile)


def _invalid_params(error: BaseException | None) -> str | None:
    """The message of a server that refused the parameters of a request."""
    from mcp import MCPError
    from mcp.types import INVALID_PARAMS

    cause = None if error is None else _root(error)
    return str(cause) if isinstance(cause, MCPError) and cause.code == INVALID_PARAMS else None


def _result(result: "CallToolResult", text: str, profile: Profile) -> Result:
    content = result.structured_content
    found = served_result(content, profile) if isinstance(content, Mapping) else None
    if found is not None:
        return found
    return text or ("" if content is None else json.dumps(content, ensure_ascii=False))


class _Connection:
    """A client that is opened and closed by a task of its own, as the SDK requires. The server's stderr is kept."""

    def __init__(self, server: McpServer) -> None:
        self._server = server
        self._log = TemporaryFile("a+", encoding="utf-8", errors="replace")  # noqa: SIM115 (closed by the task)
        self._words = ""
        self.closing = asyncio.Event()
        self.client: asyncio.Future[mcp.Client] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._stay_open())
        _tasks.add(self.task)
        self.task.add_done_callback(_tasks.discard)

    @property
    def opened(self) -> bool:
        return self.client.done() and not self.client.cancelled() and self.client.exception() is None

    def last_words(self) -> str:
        """The end of the server's stderr, for errors."""
        if not self._log.closed:
            self._log.seek(0)
            self._words = " ".join(self._log.read().split())[-_LOG_CHARS:]
        return f"; its stderr ends: {self._words}" if self._words else ""

    async def _stay_open(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                client = await stack.enter_async_context(await self._made(stack))
                if not self.client.done():
                    self.client.set_result(client)
                await self.closing.wait()
        except Exception as error:
            if not self.client.done():
                self.client.set_exception(error)
                self.client.exception()  # whoever waited for it may be gone
        finally:
            self.client.cancel()
            self.last_words()
            self._log.close()

    async def _made(self, stack: AsyncExitStack) -> "mcp.Client":
        server = self._server
        try:
            import httpx2
            from mcp import Client, StdioServerParameters, stdio_client
            from mcp.client.streamable_http import streamable_http_client
        except ImportError as error:
            raise MissingExtra("a tool of an MCP server", "mcp") from error
        if server.url:
            # A late reply ends its own call; a limit of the HTTP client would end all calls.
            timeout = httpx2.Timeout(server.timeout, read=None, pool=None)
            http = httpx2.AsyncClient(headers=dict(server.headers), timeout=timeout)
            await stack.enter_async_context(http)
            return Client(streamable_http_client(server.url, http_client=http))
        command, *arguments = server.command
        started = StdioServerParameters(command=command, args=arguments, env=dict(server.env))
        return Client(stdio_client(started, errlog=self._log))


_connections: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[McpServer, _Connection]] = WeakKeyDictionary()
_tasks: set[asyncio.Task[None]] = set()


async def _request(server: McpServer, send: "Callable[[mcp.Client], Awaitable[T]]", again: bool = True) -> T:
    """Sends a request over the connection that all calls of the server share.

    A connection that broke is replaced, and what it carried is sent once more: its other calls did nothing wrong.
    """
    connections = _connections.setdefault(asyncio.get_running_loop(), {})
    connection = connections.get(server)
    if connection is None or connection.task.done():
        connection = connections[server] = _Connection(server)
    limit = max(server.timeout, _START_SECONDS)
    try:
        async with asyncio.timeout(limit):
            client = await asyncio.shield(connection.client)
        limit = server.timeout
        async with asyncio.timeout(limit):
            return await send(client)
    except MissingExtra:
        raise
    except Exception as error:
        cause = _root(error)
        broke = _broke(cause, connection)
        if broke:
            connection.closing.set()
            if connections.get(server) is connection:
                del connections[server]
        if not (broke and again and connection.opened):
            what = f"no answer within {limit:g} s" if isinstance(cause, TimeoutError) else _described(cause)
            words = connection.last_words() if broke else ""
            raise ToolError(f"the MCP server {hidden(server.name)!r}: {hidden(f'{what}{words}')}") from error
    return await _request(server, send, again=False)


def _broke(error: BaseException, connection: _Connection) -> bool:
    """Whether the connection is of no more use. A late, refused or invalid call says nothing of the others."""
    from mcp import MCPError
    from mcp.types import CONNECTION_CLOSED

    return not connection.opened or (isinstance(error, MCPError) and error.code == CONNECTION_CLOSED)


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _root(error: BaseException) -> BaseException:
    """The SDK's task groups wrap what happened in groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _close_all() -> None:
    connections = _connections.pop(asyncio.get_running_loop(), {}).values()
    for connection in connections:
        connection.closing.set()
    await asyncio.gather(*(connection.task for connection in connections), return_exceptions=True)
