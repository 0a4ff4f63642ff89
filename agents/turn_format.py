"""Writes turns for agents: a thought and an action in the episode's protocol."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from ..envs.action import Answer, Protocol, SearchProfile, parse_action
from ..envs.text import shown_id

_ANSWER_NOW = re.compile(r"^\w[^\d\n:]*: answer now\.$", re.MULTILINE)  # posts stand on numbered lines
_TOOL = re.compile(r"<tool>(.*?)</tool>", re.DOTALL)


def must_answer(observation: str) -> bool:
    """Whether the environment says that nothing more can be called; a post may say so, too."""
    return _ANSWER_NOW.search(observation) is not None


def search_for(query: str, thought: str, protocol: Protocol = "tags") -> str:
    return _format("search", query, thought, protocol)


def answer_with(text: str, thought: str, protocol: Protocol = "tags", cites: Sequence[str] = ()) -> str:
    """`cites` are ids of documents."""
    if not cites:
        return _format("answer", text, thought, protocol)
    if protocol == "tools":
        return with_call(_escape(thought).strip(), "answer", {"text": text, "cites": list(cites)})
    named = ", ".join(map(shown_id, cites))
    return f'<think>{_escape(thought).rstrip()}</think>\n<answer cites="{named}">{_escape(text).strip()}</answer>'


def call_tool(name: str, arguments: Any, thought: str = "", protocol: Protocol = "tags") -> str:
    """A call of one of several tools."""
    if protocol == "tools":
        return with_call(_escape(thought).strip(), name, arguments)
    call = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False).replace("<", r"\u003c")
    return f"<think>{_escape(thought).rstrip()}</think>\n<tool>{call}</tool>"


def with_call(thought: str, name: str, arguments: Any) -> str:
    """A tool call of protocol "tools"."""
    return with_calls(thought, [(name, arguments, None)])


def with_calls(thought: str, calls: Iterable[tuple[str, Any, str | None]]) -> str:
    """Tool calls of protocol "tools": name, arguments and id of each. `<tool_call>` is escaped everywhere else."""
    return "\n".join([thought.replace("<tool_call>", "&lt;tool_call>"), *map(_tagged, calls)]).lstrip("\n")


def _tagged(call: tuple[str, Any, str | None]) -> str:
    name, arguments, call_id = call
    fields = {"name": name, "arguments": arguments} | ({} if call_id is None else {"id": call_id})
    written = json.dumps(fields, ensure_ascii=False).replace("<", r"\u003c")
    return f"<tool_call>{written}</tool_call>"


def as_call(text: str) -> str:
    """Converts a turn with tags to a tool call; text without an action is returned unchanged."""
    match parse_action(text, cites=True):
        case SearchProfile(query):
            return search_for(query, "", "tools")
        case Answer(answer, cites):
            return answer_with(answer, "", "tools", cites)
        case _:
            call = _TOOL.search(text)
            return f"<tool_call>{call[1]}</tool_call>" if call else text


def _format(action: str, content: str, thought: str, protocol: Protocol) -> str:
    if protocol == "tools":
        name, argument = ("search_profile", "query") if action == "search" else ("answer", "text")
        return with_call(_escape(thought).strip(), name, {argument: content})
    return f"<think>{_escape(thought).rstrip()}</think>\n<{action}>{_escape(content).strip()}</{action}>"


def _escape(text: str) -> str:
    """Text cannot contain a tag of the protocol."""
    return text.replace("<", "&lt;")
