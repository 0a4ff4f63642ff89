"""Search-R1's grammar of a transcript: think, (search, information, think) any number of times, answer."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .trajectory import Segment

# Spelt as tolerantly as the parser of actions reads it; possessive repeats keep the matching linear.
_TAG = re.compile(r"<\s*+(/?)\s*+(think|search|information|answer)\s*+>", re.IGNORECASE)
_NEXT = {  # what may follow what
    "start": ("think",),
    "think": ("search", "answer"),
    "search": ("information",),
    "information": ("think",),
    "answer": (),
}


class Structure(NamedTuple):
    """Whether a transcript keeps to the grammar, and where it first does not."""

    ok: bool
    problem: str | None = None


class _Violation(Exception):
    """The first place where the grammar is broken."""


def structure(segments: "Iterable[Segment]") -> Structure:
    """Reads a transcript after its prompt; only the environment can write `<information>`."""
    state = "start"
    try:
        for number, segment in enumerate(segments):
            if segment.author == "policy":
                state = _read(segment.text, state)
            elif number:  # the first segment is the prompt
                state = _told(segment.text, state)
    except _Violation as violation:
        return Structure(False, str(violation))
    return Structure(True) if state == "answer" else Structure(False, f"it ends after {state}, without an answer")


def _told(text: str, state: str) -> str:
    if state != "search" or not text.lstrip().startswith("<information>"):
        raise _Violation("a turn was neither a search nor an answer")
    return "information"


def _read(text: str, state: str) -> str:
    """The state after a turn of the policy: blocks, with nothing but white space between them."""
    outside, *tags = _TAG.split(text)
    _blank(outside, state)
    for place in range(0, len(tags), 6):
        state = _block(tags[place : place + 6], state)
    return state


def _block(tags: list[str], state: str) -> str:
    """A tag that opens, what it holds, the tag that closes it, and what follows."""
    slash, name, content = tags[0], tags[1].lower(), tags[2]
    if name == "information":
        raise _Violation("the policy wrote <information> itself")
    if slash or name not in _NEXT[state]:
        raise _Violation(f"<{slash}{name}> after {state}")
    if len(tags) < 6 or not tags[3] or tags[4].lower() != name:
        raise _Violation(f"<{name}> is not closed before the next tag")
    if not content.strip():
        raise _Violation(f"<{name}> is empty")
    _blank(tags[5], name)
    return name


def _blank(text: str, state: str) -> None:
    if text.strip():
        raise _Violation(f"text outside the tags after {state}")
