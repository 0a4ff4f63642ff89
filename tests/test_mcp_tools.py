"""Tools of MCP servers: documents of the asker alone, and no failure of a server is the policy's."""

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from matching import naming

pytest.importorskip("mcp")
pytest.importorskip("uvicorn")

from mcp import MCPError
from mcp.server import Server
from mcp.types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    TextContent,
)
from mcp.types import Tool as ServedTool
from mcp_server import make_server, over_http

from profilegym import Document, Profile, Question, load_questions, make_tools
from profilegym.agents.agent import make_agent
from profilegym.agents.models.scripted import Replies, ScriptedModel
from profilegym.agents.rollout import Job, Rollout
from profilegym.agents.turn_format import answer_with, call_tool
from profilegym.apps.check import check_tool
from profilegym.envs.action import Malformed
from profilegym.envs.episode import Episode
from profilegym.envs.retrieval import make_retriever
from profilegym.envs.tools import Tool, Toolset, make_tool
from profilegym.envs.tools.mcp import close_connections
from profilegym.envs.tools.running import run_call
from profilegym.errors import DataError, MissingExtra, OptionError, ToolError

SERVER = Path(__file__).parent / "mcp_server.py"


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Two users whose documents have the same ids."""
    with (tmp_path / "questions.jsonl").open("w", encoding="utf-8") as file:
        for user in ("ann", "bo"):
            json.dump(asked(user), file)
            file.write("\n")
    (tmp_path / "users.json").write_text(json.dumps({user: posts(user) for user in ("ann", "bo")}), "utf-8")
    return f"jsonl:{tmp_path}/questions.jsonl"


def asked(user: str) -> dict[str, Any]:
    return {"id": f"q-{user}", "user_id": user, "text": "Which tea?", "profile": posts(user)}


def posts(user: str) -> list[dict[str, str]]:
    return [
        {
            "id": f"p{month}",
            "text": f"In month {month} {user} drank green tea from cup {month}",
            "date": f"2024-{month:02}-05",
        }
        for month in range(1, 7)
    ]


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    close_connections()


def question(data: str, user: str = "ann") -> Question:
    return load_questions(data).find(f"q-{user}")


def users(data: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(data.removeprefix("jsonl:")).with_name("users.json").read_text("utf-8"))
    return found


def stdio(data: str, fault: str = "") -> str:
    file = Path(data.removeprefix("jsonl:")).with_name("users.json")
    return f"mcp:{sys.executable} {SERVER} {file} {fault}"


@pytest.fixture
def good(data: str) -> Iterator[str]:
    with over_http(make_server(users(data))) as url:
        yield f"mcp:{url}"


def by_month(spec: str, **options: str) -> Tool:
    return make_tool(",".join((spec, "only=by_month", *(f"{name}={value}" for name, value in options.items()))))


def test_the_policy_sees_the_schema_of_the_server(good: str) -> None:
    function = by_month(good).schema["function"]

    assert function["description"] == "Read what the person wrote in one month."
    assert function["parameters"]["properties"]["month"] == {
        "title": "Month", "type": "integer", "minimum": 1, "maximum": 12, "description": "The month.",
    }  # fmt: skip
    assert function["parameters"]["properties"]["year"]["type"] == "integer"
    assert function["parameters"]["required"] == ["month"]


@pytest.mark.parametrize("arguments", [{"month": 13}, {"month": "3"}, {"month": 3, "user": "bo"}, {}, {"month": 2.5}])
def test_arguments_are_checked_before_the_server_is_asked(good: str, arguments: dict[str, Any]) -> None:
    tools = make_tools(f"search_profile+{good}")

    assert tools is not None
    assert isinstance(tools.parse("by_month", arguments), Malformed)


def test_two_users_with_the_same_ids_each_get_their_own_documents(data: str, good: str) -> None:
    for user in ("ann", "bo"):
        profile = question(data, user).profile

        assert by_month(good).result(profile, {"month": 3}) == [profile.by_id["p3"]]
        assert make_tool(f"{good},only=newest").result(profile, {}) == profile.documents[-1].text


def test_an_episode_shows_and_records_what_the_server_found(data: str, good: str) -> None:
    episode = Episode(question(data), tools=make_tools(f"search_profile+{good}"))

    episode.write(call_tool("by_month", {"month": 4}))
    run_call(episode)

    assert "In month 4 ann drank green tea" in episode.observation
    (search,) = episode.searches
    assert (search.tool, search.arguments, [hit[0] for hit in search.hits]) == ("by_month", {"month": 4}, ["p4"])


@pytest.mark.parametrize(
    ("fault", "says"),
    [("ignores the user", "no document of user 'ann'"), ("no ids", "needs an 'id'"),
     ("hangs", "no answer within 0.3 s")],
)  # fmt: skip
def test_a_wrong_server_is_our_failure(data: str, fault: str, says: str) -> None:
    with over_http(make_server(users(data), fault)) as url:
        tool = by_month(f"mcp:{url}", timeout="0.3" if fault == "hangs" else "30")
        with pytest.raises(ToolError, match=naming(says)):
            tool.result(question(data).profile, {"month": 1})
        close_connections()


def test_the_policy_reads_an_error_that_a_tool_reports(data: str) -> None:
    with over_http(make_server(users(data), "lies")) as url:
        mistake = by_month(f"mcp:{url}").result(question(data).profile, {"month": 1})
        with pytest.raises(ToolError, match=naming("a month from 3 on")):
            by_month(f"mcp:{url}", errors="ours").result(question(data).profile, {"month": 1})
        close_connections()

    assert isinstance(mistake, Malformed)
    assert "a month from 3 on" in mistake.reason


@pytest.mark.parametrize(("code", "refused"), [(INVALID_PARAMS, True), (INTERNAL_ERROR, False)])
def test_of_the_errors_of_the_protocol_only_invalid_parameters_are_the_policys(
    data: str, code: int, refused: bool
) -> None:
    async def list_tools(context: Any, params: Any) -> ListToolsResult:
        return ListToolsResult(tools=[ServedTool(name="picky", input_schema={"type": "object"})])

    async def call(context: Any, params: CallToolRequestParams) -> CallToolResult:
        raise MCPError(code, "give a month that has passed")

    profile = question(data).profile
    with over_http(Server("picky", on_list_tools=list_tools, on_call_tool=call)) as url:
        if refused:
            assert make_tool(f"mcp:{url}").result(profile, {}) == Malformed("give a month that has passed")
        else:
            with pytest.raises(ToolError, match=naming("give a month that has passed")):
                make_tool(f"mcp:{url}").result(profile, {})
        with pytest.raises(ToolError):
            make_tool(f"mcp:{url},errors=ours").result(profile, {})
        close_connections()


def test_many_episodes_share_a_server_that_answers_while_one_hangs(data: str, good: str) -> None:
    turns = [call_tool("by_month", {"month": 5}), answer_with("Green.", "")]
    model = ScriptedModel("caller", lambda _, segments: turns[len(segments) > 1])
    rollout = Rollout(model, make_retriever("bm25"), options={"tools": make_tools(f"search_profile+{good}")})
    jobs = [Job(question(data, user), make_agent("pr2"), attempt) for attempt in range(30) for user in ("ann", "bo")]

    async def played() -> list[Any]:
        return [trajectory async for trajectory in rollout.run(jobs)]

    before = threading.active_count()
    trajectories = asyncio.run(played())

    assert {trajectory.ended for trajectory in trajectories} == {"answered"}
    assert all([hit[0] for hit in trajectory.searches[0].hits] == ["p5"] for trajectory in trajectories)
    assert threading.active_count() <= before + 1  # no thread for each call


def test_an_episode_is_unscored_where_the_server_dies(data: str) -> None:
    with over_http(make_server(users(data))) as url:
        tools = make_tools(f"search_profile+mcp:{url},timeout=5")
    model = Replies([call_tool("by_month", {"month": 5})])
    rollout = Rollout(model, make_retriever("bm25"), options={"tools": tools})

    async def played() -> list[Any]:
        return [one async for one in rollout.run([Job(question(data), make_agent("pr2"))])]

    (trajectory,) = asyncio.run(played())

    assert trajectory.ended == "error"
    assert trajectory.reward.total is None
    assert "ToolError" in trajectory.reward.unscored


def test_an_invalid_result_is_our_failure_and_leaves_the_connection_to_other_calls(data: str) -> None:
    """The server promises documents and sends none; meanwhile another call waits."""
    release = threading.Event()

    async def list_tools(context: Any, params: Any) -> ListToolsResult:
        schema = {"type": "object", "properties": {"documents": {"type": "array"}}, "required": ["documents"]}
        wrong = ServedTool(name="wrong", input_schema={"type": "object"}, output_schema=schema)
        return ListToolsResult(tools=[wrong, ServedTool(name="late", input_schema={"type": "object"})])

    async def call(context: Any, params: CallToolRequestParams) -> CallToolResult:
        if params.name == "late":
            await asyncio.to_thread(release.wait)
        return CallToolResult(content=[TextContent(text="tea")], structured_content={"found": 1})

    profile = question(data).profile
    with over_http(Server("wrong", on_list_tools=list_tools, on_call_tool=call)) as url:
        wrong, late = (make_tool(f"mcp:{url},only={name}") for name in ("wrong", "late"))
        with ThreadPoolExecutor() as threads:
            waiting = threads.submit(late.result, profile, {})
            with pytest.raises(ToolError):
                wrong.result(profile, {})
            release.set()
            assert waiting.result() == "tea"
        close_connections()


def test_a_server_that_comes_back_is_asked_again(data: str) -> None:
    server = over_http(make_server(users(data)))
    url = server.__enter__()
    tool, profile, port = by_month(f"mcp:{url}"), question(data).profile, int(url.split(":")[2].split("/")[0])
    server.__exit__(None, None, None)

    with over_http(make_server(users(data)), port):
        assert tool.result(profile, {"month": 2}) == [profile.by_id["p2"]]
        close_connections()


@pytest.mark.slow
def test_a_server_over_http_passes_the_check(data: str, good: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_tool(good, as_json=True, data=data) == 0

    assert [report["passed"] for report in json.loads(capsys.readouterr().out)] == [True, True]


@pytest.mark.slow
def test_a_server_over_stdio_passes_the_check(data: str) -> None:
    assert check_tool(stdio(data), as_json=True, data=data) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "tool", "breaks"),
    [("ignores the user", "by_month", "own documents"), ("ignores the user", "newest", "another's words"),
     ("hangs", "by_month", "deterministic"), ("lies", "by_month", "honest schema"),
     ("no ids", "by_month", "own documents")],
)  # fmt: skip
def test_a_wrong_server_fails_the_check(
    data: str, fault: str, tool: str, breaks: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with over_http(make_server(users(data), fault)) as url:
        assert check_tool(f"mcp:{url},only={tool},timeout={0.2 if fault == 'hangs' else 30}", True, data) == 1
        close_connections()

    report = json.loads(capsys.readouterr().out)
    assert breaks in [check["name"] for check in report["checks"] if not check["passed"]]


@pytest.mark.slow
def test_a_server_that_dies_over_stdio_is_named_with_its_last_words(data: str) -> None:
    with pytest.raises(ToolError, match=naming("no_such_file.py")):
        make_tool(f"mcp:{sys.executable} no_such_file.py")
    with pytest.raises(ToolError, match=naming("Connection closed")):
        by_month(stdio(data, "dies")).result(question(data).profile, {"month": 1})


@pytest.mark.slow
def test_a_file_names_servers_with_any_command(data: str, tmp_path: Path) -> None:
    arguments = [str(SERVER), str(tmp_path / "users.json")]
    servers = {"notes": {"command": sys.executable, "args": arguments, "env": {"NOTES": "a, b + c"}}}
    (tmp_path / "servers.json").write_text(json.dumps({"mcpServers": servers}), "utf-8")

    tools = make_tools(f"search_profile+mcp:{tmp_path}/servers.json")

    assert tools is not None
    assert list(tools.tools) == ["search_profile", "by_month", "newest", "answer"]


@pytest.mark.parametrize(
    ("spec", "error"),
    [("mcp:", OptionError), ("mcp:'open", OptionError), ("mcp:x,errors=theirs", OptionError),
     ("mcp:x,timeout=0", OptionError), ("mcp:no_such_program", ToolError), ("mcp:none.json", DataError),
     ("mcp:http://127.0.0.1:9/mcp", ToolError)],
)  # fmt: skip
def test_a_spec_of_no_server_is_an_error(spec: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        make_tool(spec)


def test_a_name_that_the_server_lacks_is_an_error(good: str) -> None:
    with pytest.raises(OptionError, match=naming("by_week")):
        make_tool(f"{good},only=by_week")
    with pytest.raises(OptionError, match=naming("newest")):
        make_tool(good)


def test_two_servers_in_one_episode_need_tools_with_different_names(data: str, good: str) -> None:
    with pytest.raises(OptionError, match=naming("by_month")):
        make_tools(f"{good}+{good}")


def test_the_error_names_the_extra_where_the_sdk_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)

    with pytest.raises(MissingExtra, match=naming("profilegym[mcp]")):
        make_tool("mcp:http://127.0.0.1:9/mcp")


def test_a_check_needs_two_users(tmp_path: Path) -> None:
    file = tmp_path / "one.jsonl"
    file.write_text(json.dumps(asked("ann")), "utf-8")

    with pytest.raises(DataError):
        check_tool("latest", data=f"jsonl:{file}")


def test_a_tool_can_be_an_async_function(data: str) -> None:
    async def newest(profile: Profile) -> list[Document]:
        """Read what the person wrote last."""
        await asyncio.sleep(0)
        return [profile.documents[-1]]

    episode = Episode(question(data), tools=Toolset([Tool.of(newest)]))
    episode.write(call_tool("newest", {}))

    run_call(episode)

    assert [hit[0] for hit in episode.searches[0].hits] == ["p6"]
