"""What people are made of: the files of this folder, read into types.

Every text that states a fact or asks for one exists in wordings that training shows and in wordings that it never
shows; `load_tables(unseen)` holds the one kind or the other, so that nobody can mix them.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

Value = tuple[str, ...]  # ways to write the same thing; the first is the one that texts use
Texts = tuple[str, ...]

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Topic:
    """Something that differs from person to person: how it is said, asked, searched and answered."""

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
    """Something that is the same for everybody, though every person may have a quirk about it."""

    do: str
    use: Value
    how: str
    detail: str


@dataclass(frozen=True, slots=True)
class Kind:
    """What can have a name: a person, a pet, a machine."""

    query: str
    says: Texts
    others: Texts
    mentions: Texts
    frames: Texts
    topics: tuple[Topic, ...]


@dataclass(frozen=True, slots=True)
class Domain:
    """A part of life."""

    name: str
    tip: Value
    topics: tuple[Topic, ...]
    customs: tuple[CommonFact, ...]
    odd: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Role:
    """What somebody or something is to a person: `sister`, `dog`, `van`."""

    word: str
    kind: Kind
    domain: Domain


@dataclass(frozen=True, slots=True)
class Tables:
    """All of it, in one of the two sets of wordings."""

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
    customs_asks: Texts
    words: frozenset[str]  # lower case, both sets of wordings


@cache
def load_tables(unseen: bool) -> Tables:
    wording, people = _read(_HERE / "wording.toml"), _read(_HERE / "people.toml")
    records = {path.stem: _read(path) for path in sorted((_HERE / "domains").glob("*.toml"))}
    kinds = {name: _kind(record, unseen) for name, record in people.items()}
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
        customs_asks=_wordings(questions, "customs", unseen),
        words=frozenset(_words([wording, people, *records.values()])),
        **{key: tuple(wording[key]) for key in ("tempting", "openers", "tails", "places", "days")},
    )


def _read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text("utf-8"))


def _wordings(record: Mapping[str, Any], key: str, unseen: bool) -> Texts:
    return tuple(record[f"{key}_unseen" if unseen else key])


def _value(text: str) -> Value:
    return tuple(text.split("|"))


def _values(texts: Sequence[str]) -> tuple[Value, ...]:
    return tuple(map(_value, texts))


def _kind(record: Mapping[str, Any], unseen: bool) -> Kind:
    return Kind(
        query=record["query"],
        says=_wordings(record, "says", unseen),
        frames=_wordings(record, "frames", unseen),
        others=tuple(record["others"]),
        mentions=tuple(record["mentions"]),
        topics=tuple(_topic(topic, unseen) for topic in record["topics"]),
    )


def _topic(record: Mapping[str, Any], unseen: bool) -> Topic:
    return Topic(
        about=record["about"],
        query=record["query"],
        answer=record["answer"],
        values=_values(record["values"]),
        asks=_wordings(record, "asks", unseen),
        says=_wordings(record, "says", unseen),
        changes=_wordings(record, "changes", unseen),
        others=tuple(record.get("others", ())),
    )


def _domain(name: str, record: Mapping[str, Any], unseen: bool) -> Domain:
    return Domain(
        name=name,
        tip=_value(record["tip"]),
        topics=tuple(_topic(topic, unseen) for topic in record["topics"]),
        customs=tuple(CommonFact(c["do"], _value(c["use"]), c["how"], c["detail"]) for c in record["customs"]),
        odd=_values(record["odd"]),
    )


def _noise(records: Any) -> Iterator[tuple[str, tuple[Value, ...]]]:
    """Small talk, some of it with a value of a topic, so that a value alone is no sign of a fact."""
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
