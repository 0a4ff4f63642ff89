"""How a demonstration reads: line by line when something was told that matters, then the words that hold today."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..agents.models.world_questions import Asked, read_question
from ..agents.plan import COVER
from ..envs.question import Question
from ..envs.trajectory import Segment

NOTHING, NOTHING_YET = "no", "Let me think."
_LINE = re.compile(r"(?m)^(\d+)\. \[([\d-]+)\] (.*)$")
_SENTENCE = re.compile(r"(?<=[.\]]) ")
_USE = "What people use to "  # how the world titles this aspect


@dataclass(frozen=True, slots=True)
class Line:
    """One post, as a search shows it."""

    number: str
    date: str
    text: str

    def quoted(self, words: str) -> str:
        """Up to the end of the sentence that holds these words."""
        before, found, after = self.text.partition(words)
        return f"\n{self.number}. {before}{found}{_SENTENCE.split(after)[0].rstrip('.')}"


@dataclass(frozen=True, slots=True)
class Told:
    """What one line tells of what was asked."""

    about: str
    value: str
    line: Line
    quote: str


class Reading:
    """Of a transcript, by somebody who knows what everybody knows, and who listens to a quirk if `tempted`."""

    def __init__(self, question: Question, said: Sequence[Segment], tempted: bool) -> None:
        asked = read_question(question.text)
        if asked is None:
            raise ValueError(f"{question.text!r} is no question of the world")
        blocks = [_lines(segment.text) for segment in said if segment.author == "environment"]
        self._asked = asked
        self._new, self._shown = blocks[-1], [line for block in blocks for line in block]
        names = _named(asked, self._shown)
        self._name = max(names, key=_date).value if names else None
        self._quirks = _quirks(question, self._shown) if tempted else []
        self._told = self._quirks or [*names, *_facts(asked, self._name, self._shown)]
        latest: dict[str, Told] = {}
        for told in sorted(self._told, key=_date):
            latest[told.about] = told
        self._latest = latest

    def gone_through(self) -> str:
        """The lines that the last search found: the year of those that tell something, `no` for the others."""
        telling = {told.line for told in self._told}
        return "".join(f"\n{line.number}. {f'[{line.date[:4]}]' if line in telling else NOTHING}" for line in self._new)

    def quotes(self, new: bool) -> str:
        """What holds today, as the posts say it: those of the last search, or all."""
        lines = self._new if new else self._shown
        holds = [told for told in self._told if told.line in lines and self._latest[told.about] is told]
        return "".join(dict.fromkeys(told.quote for told in holds))

    @property
    def answer(self) -> str:
        if self._quirks:
            return f"Remember: {', '.join(told.value for told in self._quirks)}."
        abouts = [topic.about for topic in self._asked.topics]
        values = [self._latest[about].value for about in abouts if about in self._latest]
        values += self._asked.common
        if self._name:
            return f"For {self._name}: {', '.join(values)}." if values else f"It is for {self._name}."
        return f"Remember: {', '.join(values)}." if values else "I do not know."


def _lines(text: str) -> list[Line]:
    return [Line(*found) for found in _LINE.findall(text)]


def _date(told: Told) -> str:
    return told.line.date


def _named(asked: Asked, lines: Sequence[Line]) -> list[Told]:
    """Who it is that the question calls by a role."""
    found = [(asked.name([line.text]), line) for line in lines] if asked.role else []
    return [_told("name", name, line) for name, line in found if name]


def _facts(asked: Asked, name: str | None, lines: Sequence[Line]) -> list[Told]:
    """Of the person, or of the one who is named; nobody else's."""
    if asked.role and not name:
        return []
    found = [(line, asked.values([line.text], name or "")) for line in lines]
    return [_told(about, value, line) for line, values in found for about, value in values.items()]


def _told(about: str, value: str, line: Line) -> Told:
    return Told(about, value, line, f"{line.quoted(value)}: {value}.")


def _quirks(question: Question, lines: Sequence[Line]) -> list[Told]:
    """What the person does otherwise than anybody, if it is the very thing that a question without hops is about."""
    aspects = question.rubric.aspects
    if not aspects[0].title.startswith(_USE):
        return []
    do = aspects[0].title.removeprefix(_USE)
    for line in lines:
        phrases = [_longest(aspect.rejected, line.text) for aspect in aspects]
        if do in line.text and all(phrases):
            whole = max((line.quoted(phrase) for phrase in (do, *phrases)), key=len)
            return [Told(phrase, phrase, line, whole) for phrase in phrases]
    return []


def _longest(phrases: Sequence[str], text: str) -> str:
    return max((phrase for phrase in phrases if f" {phrase}" in text), key=len, default="")


def excerpts(said: Sequence[Segment]) -> Iterator[list[Segment]]:
    """A search, what it found and what was thought of that, without anything before or after."""
    if any(COVER in one.text for one in said):
        return  # several searches are read at once there
    for search, found, turn in zip(said, said[1:], said[2:], strict=False):
        if _lines(found.text) and found.author == "environment":
            query = "<search>" + search.text.rpartition("<search>")[2]
            thought = turn.text.partition("</think>")[0] + "</think>"
            yield [Segment("environment", query), found, Segment("policy", thought)]
