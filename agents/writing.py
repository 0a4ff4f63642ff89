"""Turns that agents write themselves: an action and the thought before it, as the episode's protocol has them."""

import json

from ..envs.action import Protocol


def search_for(query: str, thought: str, protocol: Protocol = "tags") -> str:
    return _written("search", query, thought, protocol)


def answer_with(text: str, thought: str, protocol: Protocol = "tags") -> str:
    return _written("answer", text, thought, protocol)


def _written(action: str, content: str, thought: str, protocol: Protocol) -> str:
    if protocol == "tools":
        name, argument = ("search_profile", "query") if action == "search" else ("answer", "text")
        call = json.dumps({"name": name, "arguments": {argument: content}}, ensure_ascii=False)
        return f"{_plain(thought)}\n<tool_call>{call}</tool_call>"
    return f"<think>{_plain(thought)}</think>\n<{action}>{_plain(content)}</{action}>"


def _plain(text: str) -> str:
    """No tag of the protocol can come from inside."""
    return text.replace("<", "&lt;").strip()
