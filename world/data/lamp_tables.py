"""What LaMP's tasks are made of in the world: `lamp.toml`, read into types."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

Texts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that a text can be about, and that every person takes in a way of their own."""

    name: str
    says: Texts
    likely: Texts = ()  # the tags that people give it, the commonest first
    things: Texts = ()


@dataclass(frozen=True, slots=True)
class TaskTables:
    """The words of one task: what is asked, and what texts and habits are made of."""

    input: str
    frames: Texts
    matters: tuple[Subject, ...]
    roles: Texts
    things: Texts = ()
    styles: Texts = ()

    @property
    def labels(self) -> Texts:
        return tuple(dict.fromkeys(label for matter in self.matters for label in matter.likely))

    def found_in(self, text: str) -> tuple[Subject, ...]:
        """What a text is about, in the order in which it says so."""
        places = {m: min((text.find(says) for says in m.says if says in text), default=-1) for m in self.matters}
        return tuple(sorted((matter for matter in places if places[matter] >= 0), key=places.__getitem__))


@cache
def task_tables(task: str) -> TaskTables:
    """Of `tag`, `rating` or `title`."""
    record = _file()
    return TaskTables(
        input=record[task]["input"],
        frames=tuple(record[task]["frames"]),
        matters=tuple(map(_matter, record[task]["matters"])),
        roles=tuple(record["roles"]),
        things=tuple(record[task].get("things", ())),
        styles=tuple(record[task].get("styles", ())),
    )


@cache
def _file() -> Mapping[str, Any]:
    return tomllib.loads(Path(__file__).with_name("lamp.toml").read_text("utf-8"))


def _matter(record: Mapping[str, Any]) -> Subject:
    return Subject(record["name"], **{key: tuple(record[key]) for key in ("says", "likely", "things") if key in record})
