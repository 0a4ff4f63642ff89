"""R2P's thought template: three levels, each under a heading, and where a text deviates from it."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from ..envs.action import Answer, Call, OfferedTools, Protocol, SearchProfile, read_action
from ..envs.grammar import structure
from ..envs.trajectory import Segment

# The paper describes the purpose of the three levels; the headings and their wording are ours.
LEVELS = {
    "Task": "what is asked, and in which form the answer is wanted",
    "Person": "what the posts show of the person that bears on it",
    "Response": "which answers are possible, and which one fits the person",
}
NAMES = tuple(LEVELS)
_HEADING = re.compile(rf"(?:^|(?<=>))[ \t#*]*+({'|'.join(NAMES)})[ *]*+:", re.MULTILINE | re.IGNORECASE)
_THINK = re.compile(r"\s*+<\s*+think\s*+>", re.IGNORECASE)
_END = re.compile(r"<\s*+/?\s*+(?:think|search|information|answer)\s*+>|<tool_call>", re.IGNORECASE)
_ANSWER_START = {  # what may follow the last level
    "tags": re.compile(r"<\s*+/\s*+think\s*+>\s*+<\s*+(?:tool|answer(?:\s++cites\s*+=[^<>]*+)?)\s*+>", re.IGNORECASE),
    "tools": re.compile(r"<tool_call>"),
}


class Deviation(NamedTuple):
    """Where and why a turn deviates, and the level that is due there: `len(NAMES)` is the answer itself."""

    position: int
    problem: str
    level: int


class Section(NamedTuple):
    """The text under one heading."""

    level: int
    start: int
    text: str


def sections(turn: str) -> list[Section]:
    """The sections of a turn's thought, in the order of the text."""
    start, end = _thought(turn)
    found = list(_HEADING.finditer(turn, start, end))
    ends = [*(heading.start() for heading in found), end][1:]
    return [
        Section(NAMES.index(heading[1].capitalize()), heading.start(), turn[heading.end() : stop].strip())
        for heading, stop in zip(found, ends, strict=True)
    ]


def deviation(
    turn: str,
    done: int = 0,
    protocol: Protocol = "tags",
    searches: bool = True,
    tools: OfferedTools | None = None,
    cites: bool = True,
) -> Deviation | None:
    """The first deviation after `done` levels of earlier turns; `searches` allows a search or a call at any level."""
    for section in sections(turn):
        if section.level != done:
            return Deviation(section.start, _out_of_order(section.level, done), done)
        if not section.text:
            return Deviation(section.start, f"{NAMES[done]} is empty", done)
        done += 1
    action, end = read_action(turn, protocol, tools, cites)[0], _thought(turn)[1]
    if searches and isinstance(action, SearchProfile | Call):
        return None
    if done < len(NAMES):
        return Deviation(end, f"{NAMES[done]} is missing", done)
    if not isinstance(action, Answer) or not action.text or not _ANSWER_START[protocol].match(turn, end):
        return Deviation(end, "the answer is missing", done)
    return None


def complies(segments: Iterable[Segment]) -> bool:
    """Whether a transcript follows the grammar of tags, and its turns together the template."""
    transcript, done = list(segments), 0
    for segment in transcript:
        if segment.author == "policy":
            if deviation(segment.text, done):
                return False
            done += len(sections(segment.text))
    return structure(transcript, cites=True).ok


def text_before(turn: str, level: int) -> str:
    """The turn up to a level, or up to the end of its thought where it has no such level."""
    starts = [section.start for section in sections(turn) if section.level == level]
    return turn[: starts[0] if starts else _thought(turn)[1]].rstrip()


def _thought(turn: str) -> tuple[int, int]:
    """Where the thought starts and ends."""
    opening = _THINK.match(turn)
    start = opening.end() if opening else 0
    closing = _END.search(turn, start)
    return start, closing.start() if closing else len(turn)


def _out_of_order(level: int, done: int) -> str:
    return f"{NAMES[level]} comes again" if level < done else f"{NAMES[done]} is missing before {NAMES[level]}"
