"""Rules that parse the world's questions and posts from text alone: queries and answers."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from ..data.names import NAME
from ..data.tables import Domain, Role, Tables, Texts, Topic, load_tables

_BOTH = (False, True)  # wordings of training, and wordings that training never shows
_ANYONE, _A_NAME = "{n}", f"(?-i:{NAME.pattern})"
_DATE = re.compile(r"\[([\d-]+)\] ")


@dataclass(frozen=True, slots=True)
class ParsedQuestion:
    """The topics of a question, the role of the relation they are about (if any), and its common facts."""

    topics: tuple[Topic, ...]
    role: Role | None
    common: tuple[str, ...]

    def queries(self, posts: Sequence[str]) -> list[str]:
        """One query per search; for a relation the name comes first, as posts state its facts by name."""
        if self.role is None:
            return [topic.query for topic in self.topics]
        name = self.name(posts)
        first = self.role.kind.query.format(role=self.role.word)
        return [first, *(f"{name or self.role.word} {topic.query}" for topic in self.topics)]

    def answer(self, posts: Sequence[str]) -> str:
        """All values that the posts tell; the latest post decides."""
        name = self.name(posts) if self.role else ""
        values = self.values(posts, name).values() if name is not None else []
        return ", ".join([*([name] if name else []), *values, *self.common])

    def values(self, posts: Sequence[str], name: str = "") -> dict[str, str]:
        """Topic -> value, for the topics that the posts tell about this name."""
        found = {topic.about: _value(topic, name, posts) for topic in self.topics}
        return {about: value for about, value in found.items() if value is not None}

    def name(self, posts: Sequence[str]) -> str | None:
        """The name of the relation in the question's role."""
        assert self.role is not None
        says = tuple(text.format(role=self.role.word, n=_ANYONE) for text in _name_texts(self.role.word))
        return _latest(says, {"n": _A_NAME}, posts, "n")


def parse_question(text: str) -> ParsedQuestion | None:
    """None for a question that is not from the world."""
    text, tables = text.lower(), load_tables(False)
    role = next((role for role in tables.roles if re.search(rf"\bmy {role.word}\b", text)), None)
    theirs = _topics_in(text, role.kind.topics) if role else ()
    domain = role.domain if role and theirs else _domain_of(text, tables)
    common_facts = [fact for domain in tables.domains for fact in domain.common_facts if fact.do in text]
    if common_facts:
        return ParsedQuestion((), None, (common_facts[0].use[0], common_facts[0].detail))
    if domain is None:
        return None
    tip = any(ask in text for unseen in _BOTH for ask in load_tables(unseen).tip_asks)
    common = (domain.tip[0],) if tip else ()
    if theirs:
        return ParsedQuestion(theirs, role, common)
    return ParsedQuestion(_topics_in(text, domain.topics), None, common)


def facts_in(post: str) -> list[tuple[str, str]]:
    """Topic and value of each fact in a post."""
    values = {topic.about: _value(topic, _ANYONE, [post]) for topic in _topics(load_tables(False))}
    return [(about, value) for about, value in values.items() if value is not None]


def _domain_of(text: str, tables: Tables) -> Domain | None:
    return next((domain for domain in tables.domains if _topics_in(text, domain.topics)), None)


def _topics_in(text: str, topics: Sequence[Topic]) -> tuple[Topic, ...]:
    return tuple(topic for topic in topics if any(ask.lower() in text for ask in _topic_texts(topic.about, "asks")))


def _value(topic: Topic, name: str, posts: Sequence[str]) -> str | None:
    values = "|".join(re.escape(form) for value in topic.values for form in value)
    slots = {"v": values, "old": values, "n": _A_NAME}
    return _latest(_topic_texts(topic.about, "says", "changes"), slots, posts, "v", name)


def _latest(says: Texts, slots: dict[str, str], posts: Sequence[str], wanted: str, name: str = _ANYONE) -> str | None:
    """The value of the wanted slot in the latest post that matches one of the texts and the name."""
    patterns = _patterns(says, tuple(slots.items()))
    for post in sorted(posts, key=_dated, reverse=True):
        for pattern in patterns:
            if (found := pattern.search(post)) and (name == _ANYONE or found.groupdict().get("n", name) == name):
                return found[wanted]
    return None


@cache
def _patterns(says: Texts, slots: tuple[tuple[str, str], ...]) -> list[re.Pattern[str]]:
    return [_pattern(text, slots) for text in says]


def _pattern(text: str, slots: tuple[tuple[str, str], ...]) -> re.Pattern[str]:
    pattern = re.escape(text)
    for name, values in slots:
        pattern = pattern.replace(rf"\{{{name}\}}", f"(?P<{name}>{values})", 1)
    return re.compile(pattern, re.IGNORECASE)


def _dated(post: str) -> str:
    found = _DATE.match(post)
    return found[1] if found else ""


def _topics(tables: Tables) -> Iterator[Topic]:
    for domain in tables.domains:
        yield from domain.topics
    for role in tables.roles:
        yield from role.kind.topics


@cache
def _topic_texts(about: str, *fields: str) -> Texts:
    """Texts of a topic, in both sets of wordings."""
    topics = [next(topic for topic in _topics(load_tables(unseen)) if topic.about == about) for unseen in _BOTH]
    return tuple(text for topic in topics for field in fields for text in getattr(topic, field))


@cache
def _name_texts(role: str) -> Texts:
    """Texts that state the name of the relation in a role, in both sets of wordings."""
    roles = [one for unseen in _BOTH for one in load_tables(unseen).roles if one.word == role]
    return tuple(text for one in roles for text in one.kind.says)
