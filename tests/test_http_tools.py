"""HTTP tools, and the arguments and results that all tools of servers share."""

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from matching import naming

from profilegym import Hit
from profilegym.envs.action import Malformed
from profilegym.envs.tools import make_tool
from profilegym.envs.tools.json_schema import arguments_of
from profilegym.envs.tools.served import REFUSAL_CHARS, served_result
from profilegym.errors import BadArgument, OptionError, ToolError
from profilegym.testing.kit import examine
from profilegym.testing.tool import CHECKS, person

pytest.importorskip("jsonschema")

Reply = Callable[[dict[str, Any]], Any]
TOPIC = {"type": "object", "properties": {"topic": {"type": "string", "description": "A word."}}, "required": ["topic"]}
DESCRIPTION = {"name": "about", "description": "Read what the person wrote about a topic.", "schema": TOPIC}


def found(body: dict[str, Any]) -> dict[str, Any]:
    """What the kit's users wrote about the topic."""
    documents = {"newcomer": (), "plain": person("plain", 3).documents}.get(
        body["user"], person(body["user"]).documents
    )
    topic = body["arguments"]["topic"]
    return {"text": "\n".join(one.text for one in documents if topic and topic in one.text)}


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    servers = []

    def start(reply: Reply, description: Any = DESCRIPTION) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send(description)

            def do_POST(self) -> None:
                self._send(reply(json.loads(self.rfile.read(int(self.headers["Content-Length"])))))

            def _send(self, answer: Any) -> None:
                self.send_response(500 if answer is None else 200)
                self.end_headers()
                self.wfile.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the library's name)
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=server.serve_forever, args=(0.01,)).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/about"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_user_goes_along_beside_the_arguments(serve: Callable[..., str]) -> None:
    bodies: list[dict[str, Any]] = []

    def first(body: dict[str, Any]) -> dict[str, Any]:
        bodies.append(body)
        return {"documents": [{"id": "ann-1"}]}

    tool, ann = make_tool(serve(first)), person("ann")

    assert tool.result(ann, {"topic": "tea"}) == [ann.by_id["ann-1"]]
    assert bodies == [{"user": "ann", "profile": ann.digest.hex(), "arguments": {"topic": "tea"}}]


def test_an_endpoint_passes_the_check(serve: Callable[..., str]) -> None:
    tool = make_tool(serve(found))

    assert [one.counterexample for one in examine(tool, CHECKS) if not one.passed] == []


def test_fields_that_a_server_sends_as_null_are_not_there(serve: Callable[..., str]) -> None:
    ann = person("ann")
    tool = make_tool(serve(lambda _: {"documents": [{"id": "ann-1", "text": None, "score": None}]}))

    assert tool.result(ann, {"topic": "tea"}) == [ann.by_id["ann-1"]]


def test_an_endpoint_that_tells_all_fails_the_check(serve: Callable[..., str]) -> None:
    def everything(body: dict[str, Any]) -> dict[str, Any]:
        return {"text": "zuqopharimel"}

    tool = make_tool(serve(everything))

    assert "another's words" in [one.check.name for one in examine(tool, CHECKS) if not one.passed]


@pytest.mark.parametrize(
    "reply", [b"[" * 100_000, None, [], {}, {"documents": {}}, {"text": 5}, b"no JSON", {"documents": [{"id": "bo-1"}]}]
)
def test_a_wrong_answer_is_our_failure(serve: Callable[..., str], reply: Any) -> None:
    with pytest.raises(ToolError):
        make_tool(serve(lambda _: reply)).result(person("ann"), {"topic": "tea"})


def test_a_refusal_is_the_policys_mistake(serve: Callable[..., str]) -> None:
    refused = make_tool(serve(lambda _: {"refused": "Give a <word>."})).result(person("ann"), {"topic": ""})

    assert refused == Malformed("Give a &lt;word>.")
    long = make_tool(serve(lambda _: {"refused": "x" * 10**6})).result(person("ann"), {"topic": ""})
    assert long == Malformed("x" * REFUSAL_CHARS)


@pytest.mark.parametrize("description", [None, [], {"name": "about"}, {**DESCRIPTION, "schema": {"type": "string"}}])
def test_a_tool_that_is_not_described_is_an_error(serve: Callable[..., str], description: Any) -> None:
    with pytest.raises(ToolError):
        make_tool(serve(found, description))


def test_a_server_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ToolError):
        make_tool("http://127.0.0.1:9/about")
    with pytest.raises(OptionError):
        make_tool("http://127.0.0.1:9/about,timeout=0")
    for spec in ("http", "https:", "mcp", "mcp:"):
        with pytest.raises(OptionError):
            make_tool(spec)


@pytest.mark.parametrize(
    ("schema", "good", "bad", "expects"),
    [
        ({"type": "integer"}, [1, 2.0], [True, "1", 1.5, 1e308, 10**400], "a whole number"),
        ({"type": "integer", "minimum": 1, "maximum": 12}, [1, 12], [0, 13], "a whole number from 1 to 12"),
        ({"type": "number"}, [1, 0.5], [float("nan"), float("inf"), None], "a number"),
        ({"type": "string"}, ["", "\ud800"], [1, ["x"], None], "a string"),
        ({"type": "string", "format": "date"}, ["2024-03-05"], ["2024-13-05", 3], 'a date such as "2024-03-05"'),
        ({"enum": ["a", "<b>"]}, ["a", "<b>"], ["c", None], 'one of "a", "&lt;b>"'),
        ({"$ref": "#/$defs/mood"}, ["glad"], ["tired"], 'one of "glad", "sad"'),
        ({"type": "array", "items": {"$ref": "#/$defs/mood"}}, [["sad"], []], [["x"], "sad"], "a value of the JSON"),
        ({"type": "string", "pattern": "^[a-z]+$"}, ["tea"], ["Tea", 1], "a value of the JSON"),
        ({"patternProperties": {"^a": {}}, "additionalProperties": False}, [{"a": 1}, {"b": 1}], [], "a value of the"),
        ({"type": "string", "$id": "file:///etc/hostname"}, ["a"], [1], "a string"),
        ({}, [1, "x", [[]], {"a": 1}], [float("nan"), object(), [object()]], "a value of the JSON schema {}"),
    ],
)  # fmt: skip
def test_arguments_are_what_the_schema_says(schema: Any, good: list[Any], bad: list[Any], expects: str) -> None:
    from profilegym.envs.tools.arguments import WRONG

    definitions = {"mood": {"enum": ["glad", "sad"]}}
    whole = {"type": "object", "properties": {"it": schema}, "required": ["it"], "$defs": definitions}

    (argument,) = arguments_of("about", whole)

    assert argument.required
    assert argument.type.expects.startswith(expects)
    assert [argument.type.read(value) for value in bad] == [WRONG] * len(bad)
    assert all(argument.type.read(value) is not WRONG for value in good)


def test_a_pattern_that_takes_too_long_to_match_refuses_the_value() -> None:
    from profilegym.envs.tools.arguments import WRONG

    slow = {"type": "string", "pattern": r"^(?:(?:a|b|ab)(?=(.*)c))*$"}
    (argument,) = arguments_of("about", {"type": "object", "properties": {"it": slow}, "required": ["it"]})

    assert argument.type.read("ab" * 40 + "cc") is WRONG


DOUBLED = {f"{n}": {"anyOf": [{"$ref": f"#/$defs/{n + 1}"}, {"$ref": f"#/$defs/{n + 1}"}]} for n in range(30)}


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"$dynamicRef": "#node"}, "dynamicRef"),
        ({"anyOf": [{"$recursiveRef": "#"}]}, "recursiveRef"),
        ({"type": "string", "pattern": "(["}, "(["),
        ({"$ref": "#/$defs/0"}, "10,000"),
    ],
)
def test_a_schema_that_cannot_be_checked_safely_is_an_error(schema: Any, named: str) -> None:
    whole = {"type": "object", "properties": {"it": schema}, "$defs": {**DOUBLED, "30": {}}}

    with pytest.raises(ToolError, match=naming("about", named)):
        arguments_of("about", whole)


def test_deeply_nested_values_are_refused() -> None:
    from profilegym.envs.tools.arguments import WRONG

    (argument,) = arguments_of("about", {"type": "object", "properties": {"it": {}}})
    nested: list[Any] = []
    for _ in range(5000):
        nested = [nested]

    assert argument.type.read(nested) is WRONG


def test_null_stands_for_an_optional_argument_that_is_not_given() -> None:
    schema = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}], "default": None, "description": "A year."}

    (argument,) = arguments_of("about", {"type": "object", "properties": {"year": schema}})

    assert not argument.required
    assert argument.schema == {"type": "integer", "minimum": 1, "description": "A year."}
    (other,) = arguments_of("about", {"type": "object", "properties": {"year": {"type": ["string", "null"]}}})
    assert other.schema == {"type": "string"}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array"}, [], {"type": "object", "properties": []}, {"type": "object", "properties": {"a<b": {}}},
        {"type": "object", "properties": {"it": {"type": "text"}}}, {"type": "object", "required": "it"},
        {"type": "object", "properties": {"it": {"$ref": "http://elsewhere/schema"}}},
        {"type": "object", "properties": {"it": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}},
    ],
)  # fmt: skip
def test_a_schema_that_cannot_be_used_is_an_error(schema: Any) -> None:
    with pytest.raises(ToolError):
        arguments_of("about", schema)


def test_scores_make_hits_and_are_for_all_or_none() -> None:
    ann = person("ann")

    hits = served_result({"documents": [{"id": "ann-2", "score": 2}, {"id": "ann-1", "score": 0.5}]}, ann)

    assert hits == [Hit(ann.by_id["ann-2"], 2.0), Hit(ann.by_id["ann-1"], 0.5)]
    for scores in ([1, None], [float("nan"), 1], ["1", 1]):
        with pytest.raises(ToolError):
            served_result({"documents": [{"id": f"ann-{i}", "score": score} for i, score in enumerate(scores)]}, ann)


def test_a_document_that_is_returned_twice_is_an_error() -> None:
    with pytest.raises(ToolError):
        served_result({"documents": [{"id": "ann-1"}, {"id": "ann-1"}]}, person("ann"))


def test_a_document_with_a_text_that_the_user_did_not_write_is_an_error() -> None:
    twins = person("ann", ids="same"), person("bo", ids="same")
    own = twins[0].documents[0]

    assert served_result({"documents": [{"id": own.id, "text": own.text}]}, twins[0]) == [own]
    with pytest.raises(ToolError, match=naming(own.id)):
        served_result({"documents": [{"id": own.id, "text": "I like coffee"}]}, twins[0])


def test_other_objects_are_none_of_ours() -> None:
    assert served_result({"temperature": 21}, person("ann")) is None
    with pytest.raises(BadArgument):
        served_result({"refused": "no"}, person("ann"))
