"""How a demonstration reads posts: quotes line by line, then the facts that are current."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ...envs.question import Question
from ...envs.trajectory import Segment
from ..players.question_rules import ParsedQuestion, parse_question

NOTHING, NOTHING_YET = "no", "Let me think."
NEWER, OLDER = ", now", ", once"
_LINE = re.compile(r"(?m)^(\d+)\. \[([\d-]+)\] (.*)$")
_SENTENCE = re.compile(r"(?<=[.\]]) ")
_NAME = "name"
_USE = "What people use to "  # start of this aspect's title in the world


@dataclass(frozen=True, slots=True)
class Line:
    """One post in the results of a search."""

    number: str
    date: str
    text: str

    def quoted(self, words: str) -> str:
        """The line up to the end of the sentence with these words."""
        before, found, after = self.text.partition(words)
        return f"\n{self.number}. [{self.date}] {before}{found}{_SENTENCE.split(after)[0].rstrip('.')}"


@dataclass(frozen=True, slots=True)
class Fact:
    """What one line says about the question."""

    about: str
    value: str
    line: Line
    quote: str


class Reading:
    """The facts in a transcript, for a reader with common knowledge; if `tempted`, the user's quirks instead."""

    def __init__(self, question: Question, said: Sequence[Segment], tempted: bool) -> None:
        asked = parse_question(question.text)
        if asked is None:
            raise ValueError(f"{question.text!r} is no question of the world")
        blocks = [lines_of(segment.text) for segment in said if segment.author == "environment"]
        self._asked = asked
        self._new, self._shown = blocks[-1], [line for block in blocks for line in block]
        names = _named(asked, self._shown)
        self._name = max(names, key=_date).value if names else None
        self._quirks = _quirks(question, self._shown) if tempted else []
        self._told = self._quirks or [*names, *_facts(asked, self._name, self._shown)]
        latest: dict[str, Fact] = {}
        for told in sorted(self._told, key=_date):
            latest[told.about] = told
        self._latest = latest

    def line_by_line(self) -> str:
        """Each line of the last search: its facts and whether they are current, or `no`."""
        return "".join(self._heard(line) or f"\n{line.number}. {NOTHING}" for line in self._new)

    def quotes(self) -> str:
        """The current facts of all lines shown, as quotes."""
        holds = [told for told in self._told if self._latest[told.about] is told]
        return "".join(dict.fromkeys(told.quote + "." for told in holds))

    def _heard(self, line: Line) -> str:
        return "".join(dict.fromkeys(f"{told.quote}{self._mark(told)}." for told in self._told if told.line == line))

    def _mark(self, told: Fact) -> str:
        """Whether the fact is newer or older than those read before it."""
        before = self._shown[: self._shown.index(told.line)]
        dates = [one.line.date for one in self._told if one.about == told.about and one.line in before]
        if not dates or told.line.date == max(dates):
            return ""
        return NEWER if told.line.date > max(dates) else OLDER

    @property
    def answer(self) -> str:
        if self._quirks:
            return f"Remember: {', '.join(told.value for told in self._quirks)}."
        abouts = dict.fromkeys(told.about for told in self._told)  # in reading order
        values = [self._latest[about].value for about in abouts if about != _NAME]
        values += self._asked.common
        if self._name:
            return f"For {self._name}: {', '.join(values)}." if values else f"It is for {self._name}."
        return f"Remember: {', '.join(values)}." if values else "I do not know."


def lines_of(text: str) -> list[Line]:
    """The posts in an observation."""
    return [Line(*found) for found in _LINE.findall(text)]


def _date(told: Fact) -> str:
    return told.line.date


def _named(asked: ParsedQuestion, lines: Sequence[Line]) -> list[Fact]:
    """The names of whom the question refers to by a role."""
    found = [(asked.name([line.text]), line) for line in lines] if asked.role else []
    return [_told(_NAME, name, line) for name, line in found if name]


def _facts(asked: ParsedQuestion, name: str | None, lines: Sequence[Line]) -> list[Fact]:
    """Facts about the user, or about the named person; nobody else's."""
    if asked.role and not name:
        return []
    found = [(line, asked.values([line.text], name or "")) for line in lines]
    return [_told(about, value, line) for line, values in found for about, value in values.items()]


def _told(about: str, value: str, line: Line) -> Fact:
    return Fact(about, value, line, f"{line.quoted(value)}: {value}")


def _quirks(question: Question, lines: Sequence[Line]) -> list[Fact]:
    """What the user does differently from others, if it is the subject of a question without hops."""
    aspects = question.rubric.aspects
    if not aspects[0].title.startswith(_USE):
        return []
    do = aspects[0].title.removeprefix(_USE)
    for line in lines:
        phrases = [_longest(aspect.rejected, line.text) for aspect in aspects]
        if do in line.text and all(phrases):
            whole = max((line.quoted(phrase) for phrase in (do, *phrases)), key=len)
            return [Fact(phrase, phrase, line, whole) for phrase in phrases]
    return []


def _longest(phrases: Sequence[str], text: str) -> str:
    return max((phrase for phrase in phrases if f" {phrase}" in text), key=len, default="")
