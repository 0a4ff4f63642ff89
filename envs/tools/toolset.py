"""Toolset: the tools that an episode offers, and the registry of tools."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from ..._util.registry import Registry
from ...errors import BadArgument, OptionError
from ..action import Action, Answer, Call, Malformed, Protocol
from .answer import ANSWER_WITH_CITES, answer
from .search_profile import search_profile
from .speakers import speakers_text
from .tool import Tool

_NO_OBJECT = Malformed("The arguments of a tool call are a JSON object of names and values.")
_NOT_JSON = Malformed("The arguments of the tool call are not valid JSON.")


class Toolset:
    """Tools by name, in order; `answer` is always the last. With `cites` it also takes the ids of documents.

    `shows_ids`: a tool takes a document's id, so documents are shown with theirs. `search`: the name of the built-in
    search, if it is one of them.
    """

    def __init__(self, tools: Iterable[Tool], cites: bool = False) -> None:
        self.tools: dict[str, Tool] = {}
        last = ANSWER_WITH_CITES if cites else answer
        for tool in (*(tool for tool in tools if tool not in (answer, ANSWER_WITH_CITES)), last):
            if tool.name in self.tools:
                raise OptionError(f"there are two tools named {tool.name!r}: leave one out, or rename it")
            self.tools[tool.name] = tool
        self.shows_ids = any("id" in tool.by_name for tool in self.tools.values())
        found = self.tools.get(search_profile.name)
        self.search = search_profile.name if found and found.function is search_profile.function else None
        self.signatures = ", ".join(tool.signature for tool in self.tools.values())
        self._unknown = Malformed(f"There is no such tool; the tools are {self.signatures}.")
        self._fitted: dict[tuple[frozenset[str], bool], Toolset] = {}

    @cached_property
    def schemas(self) -> list[dict[str, Any]]:
        """The tools in the form that chat models take."""
        return [tool.schema for tool in self.tools.values()]

    def described(self, protocol: Protocol, speakers: Sequence[str] = ()) -> str:
        """For prompts: a line for each tool and each argument. With tags, the answer has a tag of its own."""
        shown = [tool for tool in self.tools.values() if tool.name != answer.name or protocol == "tools"]
        return "\n".join(line for tool in shown for line in _described(tool, speakers_text(speakers)))

    def fitted(self, fields: frozenset[str], cites: bool = False) -> "Toolset":
        """Without the arguments that need a field which documents lack; with or without those of citations."""
        key = fields, cites
        found = self._fitted.get(key)
        if found is None:
            found = self._fitted[key] = Toolset([tool.fitted(fields) for tool in self.tools.values()], cites)
        return found

    def parse(self, name: object, arguments: object) -> Action:
        """A call as an action. `arguments` is a mapping, its JSON text, or None. Never raises."""
        tool = self.tools.get(name) if isinstance(name, str) else None
        if tool is None:
            return self._unknown
        if type(arguments) is not dict:  # a check for Mapping takes as long as the rest
            if isinstance(arguments, str):
                try:
                    arguments = json.loads(arguments)
                except (ValueError, RecursionError):
                    return _NOT_JSON
            if arguments is not None and not isinstance(arguments, Mapping):
                return _NO_OBJECT
            arguments = dict(arguments or {})
        try:
            values = tool.read(arguments)
        except BadArgument as error:
            return Malformed(str(error))
        if name == "answer":
            text = values["text"].strip()
            return Answer(text, tuple(values["cites"])) if "cites" in values else Answer(text)
        return Call(tool.name, values)


def _described(tool: Tool, speakers: str) -> Iterable[str]:
    yield f"- {tool.signature}: {tool.description}"
    for argument in tool.arguments:
        default = "" if argument.default is None else f", by default {json.dumps(argument.default)}"
        notes = argument.type.description, speakers if argument.needs == "speaker" else ""
        yield " ".join((f"  {argument.name}: {argument.type.expects}{default}.", *filter(None, notes)))


TOOLS = Registry(
    "tool",
    {
        "answer": "profilegym.envs.tools.answer:answer",
        "http": "profilegym.envs.tools.http:http",
        "https": "profilegym.envs.tools.http:https",
        "latest": "profilegym.envs.tools.latest:latest",
        "mcp": "profilegym.envs.tools.mcp:mcp_tools",
        "read_around": "profilegym.envs.tools.read_around:read_around",
        "search_profile": "profilegym.envs.tools.search_profile:search_profile",
    },
)

_SERVERS = ("http", "https", "mcp")  # factories, which need an argument


def make_tools(spec: "str | Toolset | None") -> Toolset | None:
    """The tools of a spec: `search_profile+read_around+my_tools.py:by_month`.

    None for `search_profile` alone, which the protocol has without tools: its one argument is the query.
    """
    if not isinstance(spec, str):
        return spec
    names = [name.strip() for name in spec.split("+")]
    if set(names) <= {"search_profile", "answer"}:
        return None
    return Toolset(tool for name in names for tool in tools_of(name))


def tools_of(spec: str) -> list[Tool]:
    """The tools of one name, as a server may have several. What follows the name is given to its factory."""
    found, rest = TOOLS.find(spec)
    made: Any = TOOLS.make(spec) if rest or spec.partition(":")[0] in _SERVERS else found
    return [one if isinstance(one, Tool) else Tool.of(one) for one in (made if isinstance(made, list) else [made])]


def make_tool(spec: str) -> Tool:
    """The tool of a spec that names one."""
    tools = tools_of(spec)
    if len(tools) != 1:
        raise OptionError(
            f"{spec} has the tools {', '.join(tool.name for tool in tools) or 'none'}: name one with only="
        )
    return tools[0]


def register_tool(name: str, tool: Any) -> None:
    """Make a tool, or a function with type hints, available as `--tools name`."""
    TOOLS.register(name, tool)
