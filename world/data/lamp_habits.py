"""Three kinds of habit: which tag a person gives, how they rate, how they title; each shows in their past alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .lamp_tables import Subject, TaskTables, task_tables
from .rng import Dice
from .tables import load_tables

_COMMON = (0.6, 0.2, 0.2)  # how many people give a matter its first, second and third likely tag
_MIDDLE = 3  # of the five ratings


@dataclass(frozen=True, slots=True)
class Work:
    """Something to tag, rate or title: its text, what it is about, and the words that a title may need.

    Two works of one gist would give each other away.
    """

    text: str
    gist: str
    matters: tuple[Subject, ...]
    words: Mapping[str, str]


class Habit(Protocol):
    """What one person makes of any work."""

    def output(self, work: Work) -> str: ...


@dataclass(frozen=True, slots=True)
class Tagging:
    """A tag for each matter; of two matters the one that the person cares for more decides."""

    tags: Mapping[str, str]
    order: tuple[str, ...]

    def output(self, work: Work) -> str:
        return self.tags[min((matter.name for matter in work.matters), key=self.order.index)]


@dataclass(frozen=True, slots=True)
class Rating:
    """The middle, stricter or milder by a point, and a point up or down for each matter that is liked or not."""

    likes: Mapping[str, int]
    mildness: int

    def output(self, work: Work) -> str:
        points = _MIDDLE + self.mildness + sum(self.likes[matter.name] for matter in work.matters)
        return str(min(5, max(1, points)))


@dataclass(frozen=True, slots=True)
class Titling:
    """A form for each matter."""

    styles: Mapping[str, str]

    def output(self, work: Work) -> str:
        title = self.styles[work.matters[0].name].format(**work.words)
        return title[0].upper() + title[1:]


@dataclass(frozen=True, slots=True)
class Task:
    """One of LaMP's tasks as the world has it: the fields of a profile item, and how works and habits are drawn."""

    tables: str
    text_field: str
    output_field: str

    @property
    def words(self) -> TaskTables:
        return task_tables(self.tables)

    def habit(self, dice: Dice) -> Habit:
        match self.tables:
            case "tag":
                return _tagging(dice, self.words)
            case "rating":
                return Rating({matter.name: dice.pick((-1, 1)) for matter in self.words.matters}, dice.pick((-1, 0, 1)))
            case _:
                styles = dice.sample(self.words.styles, len(self.words.matters))
                return Titling({m.name: style for m, style in zip(self.words.matters, styles, strict=True)})

    def work(self, dice: Dice) -> Work:
        """Two matters, or one said twice where a title is wanted."""
        tables, world = self.words, load_tables(False)
        matters: tuple[Subject, ...]
        if self.tables == "title":
            matters = (dice.pick(tables.matters),)
            first, second = dice.sample(matters[0].says, 2)
        else:
            matters = tuple(dice.sample(tables.matters, 2))
            first, second = (dice.pick(matter.says) for matter in matters)
        words = {"place": dice.pick(world.places), "role": dice.pick(tables.roles), "day": dice.pick(world.days)}
        if things := matters[0].things or tables.things:
            words["thing"] = dice.pick(things)
        text = dice.pick(tables.frames).format(first=first, second=second, **words)
        if dice.chance(0.5):
            text = f"{text} {dice.pick(world.tails)}"
        gist = words["thing"] if self.tables == "title" else " ".join(sorted((first, second)))
        return Work(text, gist, matters, words)

    def item(self, work: Work, output: str) -> dict[str, Any]:
        """A profile item's own fields."""
        return {self.text_field: work.text, self.output_field: output}

    def asked(self, work: Work) -> str:
        return self.words.input.format(text=work.text, labels=", ".join(self.words.labels))


TASKS = {
    "world-lamp-2": Task("tag", "description", "tag"),
    "world-lamp-3": Task("rating", "text", "score"),
    "world-lamp-5": Task("title", "abstract", "title"),
}


def _tagging(dice: Dice, tables: TaskTables) -> Tagging:
    tags = {matter.name: _of_common(dice, matter.likely) for matter in tables.matters}
    return Tagging(tags, tuple(matter.name for matter in dice.sample(tables.matters, len(tables.matters))))


def _of_common(dice: Dice, likely: tuple[str, ...]) -> str:
    point = dice.roll()
    for label, share in zip(likely, _COMMON, strict=True):
        if (point := point - share) < 0:
            return label
    return likely[-1]
