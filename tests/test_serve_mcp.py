"""`profilegym serve mcp`: an episode played by an MCP client."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp")

from mcp import Client, StdioServerParameters

from profilegym import Hit, Profile, Trajectory, TrajectoryReader, load_questions
from profilegym.apps.play.session import PlaySession
from profilegym.apps.serve_mcp import make_server
from profilegym.envs.retrieval import register_retriever
from profilegym.evaluation.evaluate import Settings

DATA = "world:seed=7,users=20/test"
QUESTION = load_questions(DATA)[0]
SEVERAL = "search_profile+read_around+latest"


def records(out: Path) -> list[Trajectory]:
    return list(TrajectoryReader(out / "trajectories.jsonl"))


def play(out: Path, client_does: Callable[[Client], Awaitable[Any]], **settings: Any) -> Any:
    """What a client gets that is connected to the server in this process."""

    async def played() -> Any:
        options = {"tools": SEVERAL, **settings}
        session = PlaySession(Settings(data=DATA, protocol="tools", **options), out)
        async with Client(make_server(await session.begin(QUESTION.id))) as client:
            return await client_does(client)

    return asyncio.run(played())


async def text_of(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error
    (block,) = result.content
    assert block.type == "text"
    return block.text


def test_the_client_reads_the_tools_and_the_question(tmp_path: Path) -> None:
    async def listed(client: Client) -> tuple[dict[str, Any], str, str | None]:
        tools = {tool.name: tool.input_schema for tool in (await client.list_tools()).tools}
        (prompt,) = (await client.list_prompts()).prompts
        (message,) = (await client.get_prompt(prompt.name)).messages
        assert message.content.type == "text"
        return tools, message.content.text, client.instructions

    tools, prompt, instructions = play(tmp_path, listed)

    assert list(tools) == ["search_profile", "read_around", "latest", "answer"]
    assert tools["latest"]["properties"]["n"]["maximum"] == 20
    assert QUESTION.text in prompt
    assert instructions == prompt
    assert QUESTION.rubric.narrative not in prompt


def test_an_episode_is_played_and_recorded(tmp_path: Path) -> None:
    async def answered(client: Client) -> list[str]:
        first = await text_of(client, "search_profile", query=QUESTION.text)
        second = await text_of(client, "latest", n=2)
        return [first, second, await text_of(client, "answer", text="Tea."), await text_of(client, "latest")]

    first, second, last, after = play(tmp_path, answered)

    assert first.startswith("<information>\n1. ")
    assert second.startswith("<information>\n1. ")
    assert "over" in last
    assert "over" in after
    (record,) = records(tmp_path)
    assert (record.agent, record.ended, record.answer, record.malformed) == ("mcp", "answered", "Tea.", 0)
    assert [(search.tool, search.arguments) for search in record.searches] == [
        ("search_profile", {"query": QUESTION.text}), ("latest", {"n": 2}),
    ]  # fmt: skip
    assert record.reward is not None
    assert record.reward.total is not None


def test_a_mistake_uses_up_a_turn(tmp_path: Path) -> None:
    async def mistaken(client: Client) -> list[str]:
        wrong: list[tuple[str, dict[str, Any]]] = [
            ("latest", {"n": 99}),
            ("no_such_tool", {}),
            ("read_around", {"id": "bo-1"}),
            ("answer", {}),
        ]
        return [await text_of(client, name, **arguments) for name, arguments in wrong]

    told = play(tmp_path, mistaken, max_searches=3)

    assert "from 1 to 20" in told[0]
    assert "answer(text)" in told[1]
    assert "no post with this id" in told[2]
    assert "over" in told[3]
    (record,) = records(tmp_path)
    assert (record.ended, record.malformed, record.answer) == ("budget", 4, None)


def test_one_search_tool_is_offered_with_its_query_alone(tmp_path: Path) -> None:
    async def searched(client: Client) -> list[Any]:
        (search, _) = (await client.list_tools()).tools
        return [list(search.input_schema["properties"]), await text_of(client, "search_profile", query="tea")]

    names, found = play(tmp_path, searched, tools="search_profile")

    assert names == ["query"]
    assert found.startswith("<information>")


def test_a_failure_of_ours_leaves_the_episode_as_it_was(tmp_path: Path) -> None:
    class Broken:
        def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
            raise OSError("no index")

        def search_many(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[list[Hit]]:
            raise OSError("no index")

    register_retriever("broken-for-mcp", Broken)

    async def failed(client: Client) -> Any:
        result = await client.call_tool("search_profile", {"query": "tea"})
        return result.is_error, await text_of(client, "answer", text="Tea.")

    is_error, _ = play(tmp_path, failed, retriever="broken-for-mcp")

    assert is_error
    (record,) = records(tmp_path)
    assert (record.ended, len(record.searches), record.malformed) == ("answered", 0, 0)


@pytest.mark.slow
def test_the_command_serves_over_stdio(tmp_path: Path) -> None:
    arguments = ["-m", "profilegym", "serve", "mcp", "--data", DATA, "--question", QUESTION.id, "--out", str(tmp_path)]

    async def played() -> None:
        async with Client(StdioServerParameters(command=sys.executable, args=arguments)) as client:
            assert QUESTION.text in str(client.instructions)
            assert (await text_of(client, "search_profile", query="tea")).startswith("<information>")
            await text_of(client, "answer", text="Tea.")

    asyncio.run(played())

    assert [record.answer for record in records(tmp_path)] == ["Tea."]


@pytest.mark.slow
def test_the_command_serves_over_http_on_this_machine(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "profilegym", "serve", "mcp", "--data", DATA, "--port", "0"]
    with subprocess.Popen([*command, "--out", str(tmp_path)], stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        url = server.stderr.readline().strip()

        async def played() -> None:
            async with Client(url) as client:
                await text_of(client, "latest")
                await text_of(client, "answer", text="Tea.")

        try:
            asyncio.run(played())
        finally:
            server.send_signal(signal.SIGINT)
            told = server.stderr.read()

    assert url.startswith("http://127.0.0.1:")
    assert str(tmp_path / "trajectories.jsonl") in told
    assert "Traceback" not in told
    assert server.returncode == 0
    assert [record.answer for record in records(tmp_path)] == ["Tea."]
