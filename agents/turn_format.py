"""Turns that agents write themselves: an action and the thought before it, as the episode's protocol has them."""

import json
from typing import Any

from ..envs.action import Answer, Protocol, SearchProfile, parse_action


def search_for(query: str, thought: str, protocol: Protocol = "tags") -> str:
    return _written("search", query, thought, protocol)


def answer_with(text: str, thought: str, protocol: Protocol = "tags") -> str:
    return _written("answer", text, thought, protocol)


def with_call(thought: str, name: str, arguments: Any) -> str:
    """A tool call as protocol "tools" reads it; the mark that begins a call occurs nowhere else."""
    call = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False).replace("<", r"\u003c")
    return f"{thought.replace('<tool_call>', '&lt;tool_call>')}\n<tool_call>{call}</tool_call>".lstrip("\n")


def as_call(text: str) -> str:
    """A turn with tags as the call of a tool; what is no action stays what it is."""
    match parse_action(text):
        case SearchProfile(query):
            return search_for(query, "", "tools")
        case Answer(answer):
            return answer_with(answer, "", "tools")
        case _:
            return text


def _written(action: str, content: str, thought: str, protocol: Protocol) -> str:
    if protocol == "tools":
        name, argument = ("search_profile", "query") if action == "search" else ("answer", "text")
        return with_call(_plain(thought).strip(), name, {argument: content})
    return f"<think>{_plain(thought).rstrip()}</think>\n<{action}>{_plain(content).strip()}</{action}>"


def _plain(text: str) -> str:
    """No tag of the protocol can come from inside."""
    return text.replace("<", "&lt;")
