"""Reads tool calls in the forms in which chat models write them, and writes them in the transcript's form."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ..turn_format import with_calls


class ToolCall(NamedTuple):
    """One call. `id` is the model's own, where it wrote one."""

    name: str
    arguments: Any
    id: str | None = None


class CallingTurn(NamedTuple):
    """A turn that holds calls, and the text before them."""

    thought: str
    calls: tuple[ToolCall, ...]


Reader = Callable[[str], CallingTurn | None]  # None where the text has no call in the reader's form, or a broken one

_TAGGED = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
_PYTHON, _CALLS = "<|python_tag|>", "[TOOL_CALLS]"
# Of newer Mistral models: name[CALL_ID]id[ARGS]{…}, where both marks may be missing.
_NAMED = re.compile(r"\s*([A-Za-z_][\w.-]*)(?:\[CALL_ID\](\w+))?(?:\[ARGS\])?\s*(\{.*)", re.DOTALL)
_DECODER = json.JSONDecoder()


def read_tagged(text: str) -> CallingTurn | None:
    """Qwen, Hermes, SmolLM and the transcript: each `<tool_call>` holds a JSON object, or a list of them."""
    blocks = list(_TAGGED.finditer(text))
    return _turn(text[: blocks[0].start()], (block[1] for block in blocks)) if blocks else None


def read_listed(text: str) -> CallingTurn | None:
    """Mistral: `[TOOL_CALLS]` before a JSON list of calls, or before each name and its arguments."""
    thought, *parts = text.split(_CALLS)
    named = [_NAMED.match(part) for part in parts]
    if parts and all(named):
        return _complete(thought, [_named_call(one) for one in named if one])
    return _turn(thought, parts) if parts else None


def read_bare(text: str) -> CallingTurn | None:
    """Llama 3: JSON objects after an optional `<|python_tag|>`, with `;` between them, and nothing before."""
    thought, mark, written = text.partition(_PYTHON)
    if not mark:
        thought, written = "", text
    return _turn(thought, [written]) if written.lstrip().startswith("{") else None


READERS: tuple[Reader, ...] = (read_tagged, read_listed, read_bare)


def in_transcripts_form(text: str, read: Reader) -> str:
    """The turn as the transcript has it. A turn without calls, or with broken ones, stays as it is."""
    turn = read(text)
    return text if turn is None or (read is read_tagged and _is_plain(text)) else with_calls(turn.thought, turn.calls)


def _is_plain(text: str) -> bool:
    """Without a list in a tag: the transcript has that form itself."""
    return not any(block[1].lstrip().startswith("[") for block in _TAGGED.finditer(text))


def _turn(thought: str, written: Iterable[str]) -> CallingTurn | None:
    return _complete(thought, [_call(value) for text in written for value in _values(text)])


def _complete(thought: str, calls: list[ToolCall | None]) -> CallingTurn | None:
    found = tuple(call for call in calls if call is not None)
    return CallingTurn(thought.strip(), found) if found and len(found) == len(calls) else None


def _values(text: str) -> Iterable[Any]:
    """The JSON values in a text, those of a list one by one; None for what is no JSON."""
    text = text.strip()
    while text:
        try:
            value, end = _DECODER.raw_decode(text)
        except (ValueError, RecursionError):
            yield None
            return
        yield from value if isinstance(value, list) else [value]
        text = text[end:].lstrip("; \n")


def _named_call(found: re.Match[str]) -> ToolCall | None:
    arguments = next(iter(_values(found[3])), None)
    return None if arguments is None else ToolCall(found[1], arguments, found[2])


def _call(value: Any) -> ToolCall | None:
    """`parameters` are what Llama calls the arguments."""
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        return None
    call_id = value.get("id")
    arguments = value.get("arguments", value.get("parameters"))
    return ToolCall(value["name"], arguments, call_id if isinstance(call_id, str) else None)
