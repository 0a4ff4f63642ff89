"""Reads the calls that a person types: `latest n=2`, `latest(n=2)`, `read_around D1:3`, or with a JSON object."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ...envs.tools import Tool, Toolset
from ...errors import EpisodeError

_IN_BRACKETS = re.compile(r"(\w+)\((.*)\)", re.DOTALL)


def is_in_brackets(line: str, tools: Toolset) -> bool:
    """Whether it is a call as the tools' signatures are shown: `latest(n=2)`."""
    found = _IN_BRACKETS.fullmatch(line.strip())
    return found is not None and found[1] in tools.tools


def read_call(line: str, tools: Toolset) -> tuple[str, dict[str, Any]]:
    """The name and the arguments. Words without `=` are the first argument. Raises `EpisodeError`."""
    found = _IN_BRACKETS.fullmatch(line.strip())
    name, _, rest = line.strip().partition(" ") if found is None else (found[1], "", found[2])
    rest = rest.strip()
    if rest.startswith("{"):
        return name, _object(rest)
    tool = tools.tools.get(name)
    if tool is None:
        raise EpisodeError(f"there is no tool {name!r}; the tools are {tools.signatures}")
    return name, arguments_of(tool, _named(_words(rest, "," if found else " "), tool))


def arguments_of(tool: Tool, texts: Mapping[str, str]) -> dict[str, Any]:
    """Typed texts as JSON values. What cannot be read stays a text, which the tool then refuses."""
    return {name: _value(tool, name, text) for name, text in texts.items()}


def _words(text: str, between: str) -> list[str]:
    reader = shlex.shlex(text, posix=True)
    reader.whitespace, reader.whitespace_split, reader.commenters = between, True, ""
    try:
        return [word.strip() for word in reader]
    except ValueError as error:
        raise EpisodeError(f"the arguments {text!r} cannot be read: {error}; close the quotes") from None


def _named(words: Sequence[str], tool: Tool) -> dict[str, str]:
    named, first = dict[str, str](), list[str]()
    for word in words:
        name, equals, value = word.partition("=")
        if equals and name in tool.by_name:
            named[name] = value
        else:
            first.append(word)
    if first and tool.arguments:
        named = {tool.arguments[0].name: " ".join(first), **named}
    return named


def _value(tool: Tool, name: str, text: str) -> Any:
    argument = tool.by_name.get(name)
    if argument is None or argument.type.schema.get("type") == "string":
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise EpisodeError(f"the arguments {text!r} are no JSON object")
    return found
