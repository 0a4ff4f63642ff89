"""What rules can tell of the world's questions from text alone: what to look for, and what the posts found say."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from ..data.names import NAME
from ..data.tables import Domain, Role, Tables, Texts, Topic, load_tables

_BOTH = (False, True)  # the wordings that training shows, and those that it never does
_ANYONE, _A_NAME = "{n}", f"(?-i:{NAME.pattern})"
_DATE = re.compile(r"\[([\d-]+)\] ")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a question is about: one's own topics, or those of somebody in a role; and what everybody knows of it."""

    topics: tuple[Topic, ...]
    role: Role | None
    common: tuple[str, ...]

    def queries(self, posts: Sequence[str]) -> list[str]:
        """What to look for, one search each: the name first, as what holds for somebody is told by name."""
        if self.role is None:
            return [topic.query for topic in self.topics]
        name = self.name(posts)
        first = self.role.kind.query.format(role=self.role.word)
        return [first, *(f"{name or self.role.word} {topic.query}" for topic in self.topics)]

    def answer(self, posts: Sequence[str]) -> str:
        """Everything that is known by now; the latest post decides."""
        name = self.name(posts) if self.role else ""
        values = self.values(posts, name).values() if name is not None else []
        return ", ".join([*([name] if name else []), *values, *self.common])

    def values(self, posts: Sequence[str], name: str = "") -> dict[str, str]:
        """By what it is about; nothing for what these posts do not tell of the one who is named."""
        found = {topic.about: _value(topic, name, posts) for topic in self.topics}
        return {about: value for about, value in found.items() if value is not None}

    def name(self, posts: Sequence[str]) -> str | None:
        """Of the one in the role that the question names."""
        assert self.role is not None
        says = tuple(text.format(role=self.role.word, n=_ANYONE) for text in _wordings(_kind_says, self.role.word))
        return _latest(says, {"n": _A_NAME}, posts, "n")


def read_question(text: str) -> Asked | None:
    """`None` for a question that is none of the world's."""
    text, tables = text.lower(), load_tables(False)
    role = next((role for role in tables.roles if re.search(rf"\bmy {role.word}\b", text)), None)
    theirs = _asked(text, role.kind.topics) if role else ()
    domain = role.domain if role and theirs else _domain_of(text, tables)
    customs = [custom for domain in tables.domains for custom in domain.customs if custom.do in text]
    if customs:
        return Asked((), None, (customs[0].use[0], customs[0].detail))
    if domain is None:
        return None
    tip = any(ask in text for unseen in _BOTH for ask in load_tables(unseen).tip_asks)
    common = (domain.tip[0],) if tip else ()
    return Asked(theirs, role, common) if theirs else Asked(_asked(text, domain.topics), None, common)


def told_in(post: str) -> list[tuple[str, str]]:
    """The topics that a post tells a fact of, with the fact."""
    values = {topic.about: _value(topic, _ANYONE, [post]) for topic in _topics(load_tables(False))}
    return [(about, value) for about, value in values.items() if value is not None]


def _domain_of(text: str, tables: Tables) -> Domain | None:
    return next((domain for domain in tables.domains if _asked(text, domain.topics)), None)


def _asked(text: str, topics: Sequence[Topic]) -> tuple[Topic, ...]:
    return tuple(topic for topic in topics if any(ask.lower() in text for ask in _wordings(_asks, topic.about)))


def _value(topic: Topic, name: str, posts: Sequence[str]) -> str | None:
    values = "|".join(re.escape(form) for value in topic.values for form in value)
    slots = {"v": values, "old": values, "n": _A_NAME}
    return _latest(_wordings(_says, topic.about), slots, posts, "v", name)


def _latest(says: Texts, slots: dict[str, str], posts: Sequence[str], wanted: str, name: str = _ANYONE) -> str | None:
    """What stands in the wanted slot of the last post that says one of these, of the one who is named."""
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


@cache
def _wordings(of: Callable[[Tables, str], Texts], key: str) -> Texts:
    """Both sets of them."""
    return tuple(text for unseen in _BOTH for text in of(load_tables(unseen), key))


def _topics(tables: Tables) -> Iterator[Topic]:
    for domain in tables.domains:
        yield from domain.topics
    for role in tables.roles:
        yield from role.kind.topics


def _topic(tables: Tables, about: str) -> Topic:
    return next(topic for topic in _topics(tables) if topic.about == about)


def _asks(tables: Tables, about: str) -> Texts:
    return _topic(tables, about).asks


def _says(tables: Tables, about: str) -> Texts:
    return (*_topic(tables, about).says, *_topic(tables, about).changes)


def _kind_says(tables: Tables, role: str) -> Texts:
    return next(other.kind.says for other in tables.roles if other.word == role)
