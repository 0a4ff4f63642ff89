"""Parses the policy's text into an action. Nothing else parses it."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from typing import Protocol as Interface

Protocol = Literal["tags", "tools"]
MOST_CALLS = 16  # of one turn; more are dropped


# Hashable but not frozen: every step creates an action, and a frozen one takes twice as long to create.
@dataclass(slots=True, unsafe_hash=True)
class SearchProfile:
    """Search the user's own history."""

    query: str


@dataclass(slots=True)
class Call:
    """Call one of several tools. The arguments are checked."""

    tool: str
    arguments: Mapping[str, Any]


@dataclass(slots=True, unsafe_hash=True)
class Answer:
    """Answer the question; ends the episode. `cites` are ids of documents, as the policy wrote them."""

    text: str
    cites: tuple[str, ...] = ()


@dataclass(slots=True, unsafe_hash=True)
class Malformed:
    """No valid action. The policy is shown the reason, which never quotes the policy's text."""

    reason: str


Action = SearchProfile | Call | Answer | Malformed


class OfferedTools(Interface):
    """The tools of an episode that offers several."""

    @property
    def signatures(self) -> str:
        """Each tool's name and arguments, for corrections."""
        ...

    def parse(self, name: object, arguments: object) -> Action:
        """A call as an action. Never raises."""
        ...


TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": {argument: {"type": "string", "description": argument_description}},
                "required": [argument],
                "additionalProperties": False,
            },
        },
    }
    for name, description, argument, argument_description in (
        ("search_profile", "Search the past posts of the person who asks.", "query", "Words to look for; not empty."),
        ("answer", "Answer the person's question. This ends the conversation.", "text", "The answer to the person."),
    )
]

# Possessive repeats keep the matching linear, whatever the text.
_CLOSING = re.compile(r"<\s*+/\s*+(search|answer)\s*+>", re.IGNORECASE)
_CLOSING_WITH_TOOLS = re.compile(r"<\s*+/\s*+(search|tool|answer)\s*+>", re.IGNORECASE)
_OPENING = {kind: re.compile(rf"<\s*+{kind}\s*+>", re.IGNORECASE) for kind in ("search", "answer", "tool")}
_ANSWER_WITH_CITES = re.compile(
    r"""<\s*+answer(?:\s++cites\s*+=\s*+(?:"([^"<>]*+)"|'([^'<>]*+)'))?+\s*+>""", re.IGNORECASE
)
_TOOL_CALL = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)

_NO_ACTION = Malformed("I expected <search>…</search> or <answer>…</answer>.")
_NO_TOOL_OR_ANSWER = Malformed("I expected <tool>…</tool> or <answer>…</answer>.")
_NO_CALL_IN_TAGS = Malformed('A call inside <tool> is one JSON object: {"name": "…", "arguments": {…}}.')
_EMPTY_QUERY = Malformed("The search query is empty: say what to look for.")
_NO_TOOL_CALL = Malformed("I expected a call of the tool search_profile(query) or answer(text), as a JSON object.")


def parse_action(
    text: str, protocol: Protocol = "tags", tools: OfferedTools | None = None, cites: bool = False
) -> Action:
    """The action in a policy's text. Never raises."""
    return read_action(text, protocol, tools, cites)[0]


def read_action(
    text: str, protocol: Protocol = "tags", tools: OfferedTools | None = None, cites: bool = False
) -> tuple[Action, int]:
    """The action, and the index in the text where it ends. The caller drops the text after it.

    With tags, the action is the text between the first `</search>` or `</answer>` and the last opening tag before it.
    `tools` are those of an episode that offers several; with tags, their calls stand inside `<tool>`. With `cites`, an
    answer in tags may be opened by `<answer cites="id1, id2">`.
    """
    if protocol == "tools":
        return _read_tool_call(text, tools)
    if tools is not None:
        return _read_tags_and_tools(text, tools, cites)
    closing = _CLOSING.search(text)
    if closing is None:
        return _unclosed(text), len(text)
    kind = closing[1].lower()
    start, end = closing.span()
    if cites and kind == "answer":
        return _answer_with_cites(text, start), end
    content_start = _after_opening(_OPENING[kind], text, start)
    if content_start is None:
        return Malformed(f"</{kind}> came without <{kind}> before it."), end
    return _action(kind, text[content_start:start]), end


def further_calls(text: str, start: int, tools: OfferedTools) -> tuple[tuple[Action, ...], int]:
    """The calls after the first in a turn of protocol "tools" with several tools, and the index where the last ends."""
    actions: list[Action] = []
    while len(actions) < MOST_CALLS - 1 and (found := _TOOL_CALL.search(text, start)):
        actions.append(_parsed(found[1], tools))
        start = found.end()
    return tuple(actions), start


def parse_tool_call(name: object, arguments: object) -> Action:
    """A native tool call as an action. `arguments` is a mapping or its JSON text."""
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            return Malformed("The arguments of the tool call are not valid JSON.")
    match name:
        case "search_profile":
            return _from_arguments(arguments, "query")
        case "answer":
            return _from_arguments(arguments, "text")
        case _:
            return Malformed("There is no such tool: call search_profile(query) or answer(text).")


def _after_opening(opening: re.Pattern[str], text: str, end: int) -> int | None:
    """The index after the last opening tag before `end`."""
    start = text.rfind("<", 0, end)
    while start >= 0:
        tag = opening.match(text, start, end)
        if tag:
            return tag.end()
        start = text.rfind("<", 0, start)
    return None


def _answer_with_cites(text: str, end: int) -> Answer | Malformed:
    """The answer that ends before `end`, and the ids that its opening tag names."""
    content_start = _after_opening(_ANSWER_WITH_CITES, text, end)
    if content_start is None:
        return Malformed("</answer> came without <answer> before it.")
    opening = _ANSWER_WITH_CITES.match(text, text.rfind("<", 0, content_start))
    assert opening is not None
    names = (name.strip() for name in (opening[1] or opening[2] or "").split(","))
    return Answer(text[content_start:end].strip(), tuple(name for name in names if name))


def _unclosed(text: str, kinds: Sequence[str] = ("search", "answer"), otherwise: Malformed = _NO_ACTION) -> Malformed:
    for kind in kinds:
        if _OPENING[kind].search(text):
            return Malformed(f"<{kind}> was opened and never closed: end it with </{kind}>.")
    return otherwise


def _read_tags_and_tools(text: str, tools: OfferedTools, cites: bool) -> tuple[Action, int]:
    """As with tags alone; `<search>` is short for a call of `search_profile` with its query."""
    closing = _CLOSING_WITH_TOOLS.search(text)
    if closing is None:
        return _unclosed(text, ("tool", "search", "answer"), _NO_TOOL_OR_ANSWER), len(text)
    kind = closing[1].lower()
    start, end = closing.span()
    if cites and kind == "answer":
        return _answer_with_cites(text, start), end
    content_start = _after_opening(_OPENING[kind], text, start)
    if content_start is None:
        return Malformed(f"</{kind}> came without <{kind}> before it."), end
    content = text[content_start:start]
    if kind == "answer":
        return Answer(content.strip()), end
    if kind == "search":
        return tools.parse("search_profile", {"query": content}), end
    call = _loaded_call(content)
    return (tools.parse(call["name"], call.get("arguments")) if call else _NO_CALL_IN_TAGS), end


def _action(kind: str, content: str) -> Action:
    content = content.strip()
    if kind == "answer":
        return Answer(content)
    return SearchProfile(content) if content else _EMPTY_QUERY


def _read_tool_call(text: str, tools: OfferedTools | None = None) -> tuple[Action, int]:
    """Reads the JSON object `{"name": …, "arguments": {…}}`, bare or inside the first `<tool_call>`."""
    wrapped = _TOOL_CALL.search(text)
    body, end = (wrapped[1], wrapped.end()) if wrapped else (text, len(text))
    return _parsed(body, tools), end


def _parsed(body: str, tools: OfferedTools | None) -> Action:
    call = _loaded_call(body)
    if call is None:
        return _no_call_of(tools) if tools else _NO_TOOL_CALL
    parse = tools.parse if tools else parse_tool_call
    return parse(call["name"], call.get("arguments"))


def _no_call_of(tools: OfferedTools) -> Malformed:
    return Malformed(f"I expected a call of one of the tools {tools.signatures}, as a JSON object.")


def _loaded_call(text: str) -> Mapping[str, Any] | None:
    try:
        call = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return call if isinstance(call, Mapping) and "name" in call else None


def _from_arguments(arguments: object, name: str) -> Action:
    """The action of a call with exactly the tool's one argument. Others, such as a user's id, are refused."""
    if not isinstance(arguments, Mapping) or set(arguments) != {name} or not isinstance(arguments[name], str):
        return Malformed(f"This tool takes exactly one argument, {name!r}, a string.")
    return _action("answer" if name == "text" else "search", arguments[name])
