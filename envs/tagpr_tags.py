"""TagPR's tags: reasoning in steps, each inside a tag that names its purpose."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .trajectory import Segment

# The paper has nine tags and names two of them, examine_examples and identify_patterns. The other names are ours.
TAGS = {
    "understand_task": "what is asked, and in which form the answer is wanted",
    "examine_examples": "what in the person's history bears on it",
    "identify_patterns": "what recurs there",
    "infer_preference": "what the person therefore prefers",
    "link_evidence": "which of the posts show it",
    "consider_alternatives": "what else could be meant, or answered",
    "apply_preference": "what the preference means for this answer",
    "check_consistency": "whether it fits the question and the posts",
    "compose_answer": "how to put it",
}
_TAG = re.compile(r"<\s*+(/?)\s*+([a-z_]+)\s*+>", re.IGNORECASE)


class Tagged(NamedTuple):
    """The tags of the steps in order, and the first violation of the format."""

    steps: tuple[str, ...]
    problem: str | None = None


class _Violation(Exception):
    """The first violation of the format."""


def tagged(segments: "Iterable[Segment]") -> Tagged:
    """Reads the steps inside the policy's `<think>`: known tags, closed, not nested, not empty, no text between."""
    steps: list[str] = []
    try:
        for segment in segments:
            if segment.author == "policy":
                _read(segment.text, steps)
    except _Violation as violation:
        return Tagged(tuple(steps), str(violation))
    return Tagged(tuple(steps), None if steps else "there is no step")


def _read(text: str, steps: list[str]) -> None:
    """Appends the steps of a turn."""
    inside = None  # None: outside <think>; "think": between two steps; otherwise the tag of the current step
    pieces = _TAG.split(text)
    for slash, tag, text_after in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        inside = _after(inside, slash, tag.lower())
        if inside == "think" and text_after.strip():
            raise _Violation("text between the steps")
        if inside in TAGS:
            steps.append(str(inside))
            if not text_after.strip():
                raise _Violation(f"<{inside}> is empty")
    if inside:
        raise _Violation(f"<{inside}> is not closed")


def _after(inside: str | None, slash: str, tag: str) -> str | None:
    """The value of `inside` after a tag."""
    if inside is None:
        return "think" if tag == "think" and not slash else None
    if slash and tag == inside:
        return None if tag == "think" else "think"
    if not slash and inside == "think" and tag in TAGS:
        return tag
    raise _Violation(f"<{slash}{tag}> inside <{inside}>")
