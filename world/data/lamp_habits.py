"""Three kinds of user habit (tags, ratings, titles), which only the user's profile shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .rng import Rng
from .tables import Subject, TaskTables, load_tables, task_tables

_COMMON = (0.6, 0.2, 0.2)  # shares of the first, second and third likely tag of a subject
_MIDDLE = 3  # of the five ratings


@dataclass(frozen=True, slots=True)
class Item:
    """A text to tag, rate or title, with its subjects and the words that a title may need.

    An item in the profile with the same `duplicate_key` as a question would reveal its answer.
    """

    text: str
    duplicate_key: str
    subjects: tuple[Subject, ...]
    words: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Tagging:
    """A tag for each subject; of two subjects the first in `order` decides."""

    tags: Mapping[str, str]
    order: tuple[str, ...]

    def output(self, item: Item) -> str:
        return self.tags[min((subject.name for subject in item.subjects), key=self.order.index)]


@dataclass(frozen=True, slots=True)
class Rating:
    """The middle rating plus `mildness`, and a point up or down for each subject."""

    likes: Mapping[str, int]
    mildness: int

    def output(self, item: Item) -> str:
        points = _MIDDLE + self.mildness + sum(self.likes[subject.name] for subject in item.subjects)
        return str(min(5, max(1, points)))


@dataclass(frozen=True, slots=True)
class Titling:
    """A title template for each subject."""

    styles: Mapping[str, str]

    def output(self, item: Item) -> str:
        title = self.styles[item.subjects[0].name].format(**item.words)
        return title[0].upper() + title[1:]


Habit = Tagging | Rating | Titling  # how one user responds to any item


@dataclass(frozen=True, slots=True)
class Task:
    """One of LaMP's tasks: the fields of a profile item, and how items and habits are sampled."""

    tables: str
    text_field: str
    output_field: str

    @property
    def task_tables(self) -> TaskTables:
        return task_tables(self.tables)

    def habit(self, rng: Rng) -> Habit:
        match self.tables:
            case "tag":
                return _tagging(rng, self.task_tables)
            case "rating":
                likes = {subject.name: rng.choice((-1, 1)) for subject in self.task_tables.subjects}
                return Rating(likes, mildness=rng.choice((-1, 0, 1)))
            case _:
                styles = rng.sample(self.task_tables.styles, len(self.task_tables.subjects))
                return Titling({m.name: style for m, style in zip(self.task_tables.subjects, styles, strict=True)})

    def draw(self, rng: Rng) -> Item:
        """Samples an item with two subjects, or with two phrasings of one subject for titles."""
        tables, world = self.task_tables, load_tables(False)
        subjects: tuple[Subject, ...]
        if self.tables == "title":
            subjects = (rng.choice(tables.subjects),)
            first, second = rng.sample(subjects[0].says, 2)
        else:
            subjects = tuple(rng.sample(tables.subjects, 2))
            first, second = (rng.choice(subject.says) for subject in subjects)
        words = {"place": rng.choice(world.places), "role": rng.choice(tables.roles), "day": rng.choice(world.days)}
        if things := subjects[0].things or tables.things:
            words["thing"] = rng.choice(things)
        text = rng.choice(tables.frames).format(first=first, second=second, **words)
        if rng.chance(0.5):
            text = f"{text} {rng.choice(world.tails)}"
        duplicate_key = words["thing"] if self.tables == "title" else " ".join(sorted((first, second)))
        return Item(text, duplicate_key, subjects, words)

    def profile_item(self, item: Item, output: str) -> dict[str, Any]:
        """The task's fields of a profile item."""
        return {self.text_field: item.text, self.output_field: output}

    def prompt(self, item: Item) -> str:
        return self.task_tables.input.format(text=item.text, labels=", ".join(self.task_tables.labels))


TASKS = {
    "world-lamp-2": Task("tag", "description", "tag"),
    "world-lamp-3": Task("rating", "text", "score"),
    "world-lamp-5": Task("title", "abstract", "title"),
}


def _tagging(rng: Rng, tables: TaskTables) -> Tagging:
    tags = {subject.name: _likely_tag(rng, subject.likely) for subject in tables.subjects}
    return Tagging(tags, tuple(subject.name for subject in rng.sample(tables.subjects, len(tables.subjects))))


def _likely_tag(rng: Rng, likely: tuple[str, ...]) -> str:
    remaining = rng.random()
    for label, share in zip(likely, _COMMON, strict=True):
        if (remaining := remaining - share) < 0:
            return label
    return likely[-1]
