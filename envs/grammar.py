"""Checks a transcript against Search-R1's grammar: think, (search, information, think)*, answer."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .trajectory import Segment

# As tolerant as the parser of actions. Possessive repeats keep the matching linear.
_TAG = re.compile(r"<\s*+(/?)\s*+(think|search|information|answer)\s*+>", re.IGNORECASE)
_CITES = re.compile(r"""(<\s*+answer)\s++cites\s*+=\s*+(?:"[^"<>]*+"|'[^'<>]*+')\s*+>""", re.IGNORECASE)
_MAY_FOLLOW = {
    "start": ("think",),
    "think": ("search", "answer"),
    "search": ("information",),
    "information": ("think",),
    "answer": (),
}


class Structure(NamedTuple):
    """Whether a transcript follows the grammar, and its first violation."""

    ok: bool
    problem: str | None = None


class _Violation(Exception):
    """The first violation of the grammar."""


def structure(segments: "Iterable[Segment]", cites: bool = False) -> Structure:
    """Checks a transcript after its prompt. Only the environment may write `<information>`.

    With `cites`, an answer may name documents in its opening tag.
    """
    state = "start"
    try:
        for number, segment in enumerate(segments):
            if segment.author == "policy":
                state = _after_turn(_CITES.sub(r"\1>", segment.text) if cites else segment.text, state)
            elif number:  # the first segment is the prompt
                state = _after_observation(segment.text, state)
    except _Violation as violation:
        return Structure(False, str(violation))
    return Structure(True) if state == "answer" else Structure(False, f"it ends after {state}, without an answer")


def _after_observation(text: str, state: str) -> str:
    if state != "search" or not text.lstrip().startswith("<information>"):
        raise _Violation("a turn was neither a search nor an answer")
    return "information"


def _after_turn(text: str, state: str) -> str:
    """The state after a turn of the policy, which is blocks with only white space between them."""
    outside, *tags = _TAG.split(text)
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
    return name


def _require_blank(text: str, state: str) -> None:
    if text.strip():
        raise _Violation(f"text outside the tags after {state}")
