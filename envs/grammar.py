"""Checks a transcript against its protocol's grammar: think, (search or call, information, think)*, answer."""

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .trajectory import Segment

# As tolerant as the parser of actions. Possessive repeats keep the matching linear.
_TAG = re.compile(r"<\s*+(/?)\s*+(think|search|information|answer)\s*+>", re.IGNORECASE)
_TAG_WITH_TOOLS = re.compile(r"<\s*+(/?)\s*+(think|search|tool|information|answer)\s*+>", re.IGNORECASE)
_CITES = re.compile(r"""(<\s*+answer)\s++cites\s*+=\s*+(?:"[^"<>]*+"|'[^'<>]*+')\s*+>""", re.IGNORECASE)
_INFORMATION = re.compile(r"<\s*+/?\s*+information\s*+>", re.IGNORECASE)
_TOOL_CALL = re.compile(r"<tool_call>(.*?)(</tool_call>|\Z)", re.DOTALL)
_MAY_FOLLOW = {
    "start": ("think",),
    "think": ("search", "tool", "answer"),
    "search": ("information",),
    "tool": ("information",),
    "information": ("think",),
    "answer": (),
}


class Structure(NamedTuple):
    """Whether a transcript follows the grammar, and its first violation."""

    ok: bool
    problem: str | None = None


class _Violation(Exception):
    """The first violation of the grammar."""


def structure(segments: "Iterable[Segment]", form: str = "tags", cites: bool = False) -> Structure:
    """Checks a transcript after its prompt. Only the environment may write `<information>`.

    `form` is the name of the prompt, one of `FORMS`. In tags, a turn is a thought and an action; with several tools,
    `<tool>` holds a call. In "tools", a turn is native calls after an optional thought, and none of them is refused.
    With `cites`, an answer in tags may name documents in its opening tag.
    """
    try:
        if form in _NATIVE:
            return _native(segments)
        return _tags(segments, _TAG_WITH_TOOLS if form == "tags_several" else _TAG, cites)
    except _Violation as violation:
        return Structure(False, str(violation))


def _tags(segments: "Iterable[Segment]", tag: re.Pattern[str], cites: bool) -> Structure:
    state = "start"
    for number, segment in enumerate(segments):
        if segment.author == "policy":
            state = _after_turn(_CITES.sub(r"\1>", segment.text) if cites else segment.text, state, tag)
        elif number:  # the first segment is the prompt
            state = _after_observation(segment.text, state)
    return Structure(True) if state == "answer" else Structure(False, f"it ends after {state}, without an answer")


def _after_observation(text: str, state: str) -> str:
    if state not in ("search", "tool") or not _is_result(text):
        raise _Violation("a turn was neither a search nor an answer")
    return "information"


def _after_turn(text: str, state: str, tag: re.Pattern[str]) -> str:
    """The state after a turn of the policy, which is blocks with only white space between them."""
    outside, *tags = tag.split(text)
    _require_blank(outside, state)
    for start in range(0, len(tags), 6):
        state = _after_block(tags[start : start + 6], state)
    return state


def _after_block(tags: list[str], state: str) -> str:
    """The state after a block. `tags` are its opening tag, content and closing tag, and the text after it."""
    slash, name, content = tags[0], tags[1].lower(), tags[2]
    if name == "information":
        raise _Violation("the policy wrote <information> itself")
    if slash or name not in _MAY_FOLLOW[state]:
        raise _Violation(f"<{slash}{name}> after {state}")
    if len(tags) < 6 or not tags[3] or tags[4].lower() != name:
        raise _Violation(f"<{name}> is not closed before the next tag")
    if not content.strip():
        raise _Violation(f"<{name}> is empty")
    _require_blank(tags[5], name)
    return "answer" if name == "tool" and _is_answer(content) else name


def _require_blank(text: str, state: str) -> None:
    if text.strip():
        raise _Violation(f"text outside the tags after {state}")


def _native(segments: "Iterable[Segment]") -> Structure:
    waiting, answered = 0, False  # calls without a result
    for number, segment in enumerate(segments):
        if segment.author == "policy":
            if waiting:
                raise _Violation("a call was not made")
            waiting, answered = _calls_of(segment.text)
        elif number:
            if not waiting or not _is_result(segment.text):
                raise _Violation("a turn was no call, or one that was refused")
            waiting -= 1
    if waiting or not answered:
        raise _Violation("a call was not made" if answered else "it ends without an answer")
    return Structure(True)


def _calls_of(text: str) -> tuple[int, bool]:
    """The number of calls in a turn that have a result, and whether the last one answers."""
    thought, *others = _TOOL_CALL.split(text)
    if _INFORMATION.search(thought):
        raise _Violation("the policy wrote <information> itself")
    if not others:
        thought, others = "", [text, "</tool_call>", ""]
    calls, closings, between = others[::3], others[1::3], others[2::3]
    if not all(closings):
        raise _Violation("<tool_call> is not closed")
    if any(text.strip() for text in between):
        raise _Violation("text after a call")
    answers = list(map(_is_answer, calls))
    if any(answers[:-1]):
        raise _Violation("a call after the answer")
    return len(calls) - answers[-1], answers[-1]


def _is_answer(call: str) -> bool:
    """Whether a call as JSON text is the answer; anything but a call violates the grammar."""
    try:
        found: Any = json.loads(call)
    except (ValueError, RecursionError):
        found = None
    match found:
        case {"name": "answer", "arguments": {"text": str(text)}} if not text.strip():
            raise _Violation("the answer is empty")
        case {"name": str(name)}:
            return name == "answer"
    raise _Violation("a call is no JSON object with a name")


def _is_result(text: str) -> bool:
    return text.lstrip().startswith("<information>")


_NATIVE = ("tools", "tools_several")
FORMS = ("tags", "tags_several", *_NATIVE)
