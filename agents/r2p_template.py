"""R2P's template of a thought: three levels under headings of their own, and where a text leaves it."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from ..envs.action import Answer, Protocol, SearchProfile, read_action
from ..envs.grammar import structure
from ..envs.trajectory import Segment

# The paper tells what the three levels do; the headings and their wording are ours.
LEVELS = {
    "Task": "what is asked, and in which form the answer is wanted",
    "Person": "what the posts show of the person that bears on it",
    "Response": "which answers are possible, and which one fits the person",
}
NAMES = tuple(LEVELS)
_HEADING = re.compile(rf"(?:^|(?<=>))[ \t#*]*+({'|'.join(NAMES)})[ *]*+:", re.MULTILINE | re.IGNORECASE)
_OPENING = re.compile(r"\s*+<\s*+think\s*+>", re.IGNORECASE)
_END = re.compile(r"<\s*+/?\s*+(?:think|search|information|answer)\s*+>|<tool_call>", re.IGNORECASE)
_ENDING = {  # what may follow the last level
    "tags": re.compile(r"<\s*+/\s*+think\s*+>\s*+<\s*+answer\s*+>", re.IGNORECASE),
    "tools": re.compile(r"<tool_call>"),
}


class Deviation(NamedTuple):
    """Where a turn leaves the template, why, and the level to go on with: `len(NAMES)` is the answer itself."""

    place: int
    problem: str
    level: int


class Section(NamedTuple):
    """A heading and what stands under it."""

    level: int
    start: int
    text: str


def sections(turn: str) -> list[Section]:
    """Those of a turn's thought, in its own order."""
    start, end = _thought(turn)
    found = list(_HEADING.finditer(turn, start, end))
    ends = [*(heading.start() for heading in found), end][1:]
    return [
        Section(_level(heading[1]), heading.start(), turn[heading.end() : stop].strip())
        for heading, stop in zip(found, ends, strict=True)
    ]


def deviation(turn: str, done: int = 0, protocol: Protocol = "tags", searches: bool = True) -> Deviation | None:
    """The first one, where earlier turns did the first `done` levels. A search, if there may be one, comes at any."""
    for section in sections(turn):
        if section.level != done:
            return Deviation(section.start, _out_of_order(section.level, done), done)
        if not section.text:
            return Deviation(section.start, f"{NAMES[done]} is empty", done)
        done += 1
    action, end = read_action(turn, protocol)[0], _thought(turn)[1]
    if searches and isinstance(action, SearchProfile):
        return None
    if done < len(NAMES):
        return Deviation(end, f"{NAMES[done]} is missing", done)
    if not isinstance(action, Answer) or not action.text or not _ENDING[protocol].match(turn, end):
        return Deviation(end, "the answer is missing", done)
    return None


def complies(segments: Iterable[Segment]) -> bool:
    """Whether a transcript keeps to the grammar of tags, and its turns together to the template."""
    said, done = list(segments), 0
    for segment in said:
        if segment.author == "policy":
            if deviation(segment.text, done):
                return False
            done += len(sections(segment.text))
    return structure(said).ok


def before(turn: str, level: int) -> str:
    """What stands before a level, or all of the thought where it has none."""
    places = [section.start for section in sections(turn) if section.level == level]
    return turn[: places[0] if places else _thought(turn)[1]].rstrip()


def _thought(turn: str) -> tuple[int, int]:
    """Where it begins and ends."""
    opening = _OPENING.match(turn)
    start = opening.end() if opening else 0
    closing = _END.search(turn, start)
    return start, closing.start() if closing else len(turn)


def _level(heading: str) -> int:
    return NAMES.index(heading.capitalize())


def _out_of_order(level: int, done: int) -> str:
    return f"{NAMES[level]} comes again" if level < done else f"{NAMES[done]} is missing before {NAMES[level]}"
