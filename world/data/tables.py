"""Reads the TOML tables that users, documents and questions are generated from.

Every text that states a fact or asks for one has wordings for training and wordings that training never shows;
`load_tables(unseen)` returns one set or the other.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

Value = tuple[str, ...]  # spellings of one value; texts use the first
Texts = tuple[str, ...]

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Topic:
    """A personal property: its values, and how it is stated, asked, searched and answered."""

    about: str
    query: str
    answer: str
    values: tuple[Value, ...]
    asks: Texts
    says: Texts
    changes: Texts
    others: Texts


@dataclass(frozen=True, slots=True)
class CommonFact:
    """Common knowledge, the same for every user: how people do a thing, and with what."""

    do: str
    use: Value
    how: str
    detail: str


@dataclass(frozen=True, slots=True)
class RelationKind:
    """A kind of named relation: a person, a pet, a machine."""

    query: str
    says: Texts
    others: Texts
    mentions: Texts
    frames: Texts
    topics: tuple[Topic, ...]


@dataclass(frozen=True, slots=True)
class Domain:
    """A topic area: personal topics, common facts, and a general rule (`tip`)."""

    name: str
    tip: Value
    topics: tuple[Topic, ...]
    common_facts: tuple[CommonFact, ...]
    odd: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Role:
    """The role of a relation: `sister`, `dog`, `van`."""

    word: str
    kind: RelationKind
    domain: Domain


@dataclass(frozen=True, slots=True)
class Tables:
    """All tables, in one of the two sets of wordings."""

    domains: tuple[Domain, ...]
    roles: tuple[Role, ...]
    details: Mapping[str, Texts]
    tempting: Texts
    noise: tuple[tuple[str, tuple[Value, ...]], ...]
    openers: Texts
    tails: Texts
    places: Texts
    days: Texts
    leads: Texts
    tip_asks: Texts
    common_fact_asks: Texts
    words: frozenset[str]  # lower case, both sets of wordings


@dataclass(frozen=True, slots=True)
class Subject:
    """What a text can be about; every user responds to it in their own way."""

    name: str
    says: Texts
    likely: Texts = ()  # likely tags, the most common first
    things: Texts = ()


@dataclass(frozen=True, slots=True)
class TaskTables:
    """The tables of one LaMP task: the prompt, and what texts and habits consist of."""

    input: str
    frames: Texts
    subjects: tuple[Subject, ...]
    roles: Texts
    things: Texts = ()
    styles: Texts = ()

    @property
    def labels(self) -> Texts:
        return tuple(dict.fromkeys(label for subject in self.subjects for label in subject.likely))

    def found_in(self, text: str) -> tuple[Subject, ...]:
        """The subjects of a text, in order of appearance."""
        places = {m: min((text.find(says) for says in m.says if says in text), default=-1) for m in self.subjects}
        return tuple(sorted((subject for subject in places if places[subject] >= 0), key=places.__getitem__))


@cache
def load_tables(unseen: bool) -> Tables:
    wording, people = _read(_HERE / "wording.toml"), _read(_HERE / "people.toml")
    records = {path.stem: _read(path) for path in sorted((_HERE / "domains").glob("*.toml"))}
    kinds = {name: _relation_kind(record, unseen) for name, record in people.items()}
    domains = {name: _domain(name, record, unseen) for name, record in records.items()}
    questions = wording["questions"]
    return Tables(
        domains=tuple(domains.values()),
        roles=tuple(
            Role(word, kinds[kind], domains[name])
            for name, record in records.items()
            for word, kind in record["roles"].items()
        ),
        details={how: tuple(details) for how, details in wording["details"].items()},
        noise=tuple(_noise(records.values())),
        leads=_wordings(questions, "leads", unseen),
        tip_asks=_wordings(questions, "tips", unseen),
        common_fact_asks=_wordings(questions, "customs", unseen),
        words=frozenset(_words([wording, people, *records.values()])),
        **{key: tuple(wording[key]) for key in ("tempting", "openers", "tails", "places", "days")},
    )


@cache
def task_tables(task: str) -> TaskTables:
    """The tables of `tag`, `rating` or `title`."""
    tables = _read(_HERE / "lamp.toml")
    record = tables[task]
    return TaskTables(
        input=record["input"],
        frames=tuple(record["frames"]),
        subjects=tuple(map(_subject, record["matters"])),
        roles=tuple(tables["roles"]),
        things=tuple(record.get("things", ())),
        styles=tuple(record.get("styles", ())),
    )


def _read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text("utf-8"))


def _wordings(record: Mapping[str, Any], key: str, unseen: bool) -> Texts:
    return tuple(record[f"{key}_unseen" if unseen else key])


def _value(text: str) -> Value:
    return tuple(text.split("|"))


def _values(texts: Sequence[str]) -> tuple[Value, ...]:
    return tuple(map(_value, texts))


def _relation_kind(record: Mapping[str, Any], unseen: bool) -> RelationKind:
    topics = tuple(_topic(topic, unseen) for topic in record["topics"])
    says, frames = _wordings(record, "says", unseen), _wordings(record, "frames", unseen)
    return RelationKind(record["query"], says, tuple(record["others"]), tuple(record["mentions"]), frames, topics)


def _topic(record: Mapping[str, Any], unseen: bool) -> Topic:
    asks, says, changes = (_wordings(record, key, unseen) for key in ("asks", "says", "changes"))
    values, others = _values(record["values"]), tuple(record.get("others", ()))
    return Topic(record["about"], record["query"], record["answer"], values, asks, says, changes, others)


def _domain(name: str, record: Mapping[str, Any], unseen: bool) -> Domain:
    topics = tuple(_topic(topic, unseen) for topic in record["topics"])
    facts = tuple(
        CommonFact(fact["do"], _value(fact["use"]), fact["how"], fact["detail"]) for fact in record["customs"]
    )
    return Domain(name, _value(record["tip"]), topics, facts, _values(record["odd"]))


def _noise(records: Any) -> Iterator[tuple[str, tuple[Value, ...]]]:
    """Small talk; some of it contains topic values, so that a value alone does not indicate a fact."""
    for record in records:
        for text in record["noise"]:
            yield text, (("",),)
        for topic in record["topics"]:
            for text in topic["noise"]:
                yield text, _values(topic["values"])


def _words(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield from re.findall(r"[a-z']+", node.lower())
    else:
        for child in node.values() if isinstance(node, dict) else node:
            yield from _words(child)


def _subject(record: Mapping[str, Any]) -> Subject:
    return Subject(record["name"], **{key: tuple(record[key]) for key in ("says", "likely", "things") if key in record})
