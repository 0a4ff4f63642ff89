"""What rules can tell of the world's tasks from text alone: the matters that it is about, and the words of titles."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, multimode

from ...envs.data.world.lamp_tables import Matter, TaskTables, task_tables
from ...envs.data.world.tables import load_tables

TASKS = ("tag", "rating", "title")
_KINDS = {"tag": "theme", "rating": "quality", "title": "subject"}
_WORDING = "wording"
_MIDDLE = "3"


@dataclass(frozen=True, slots=True)
class Read:
    """What a text is about: its task, its matters, and the words that stand for its thing, place and role."""

    task: str
    matters: tuple[Matter, ...]
    words: Mapping[str, str]

    @property
    def features(self) -> list[tuple[str, str, str]]:
        """Name, context and factor of each."""
        kind = _KINDS[self.task]
        return [(matter.name, self.words[matter.name], kind) for matter in self.matters] + [
            (name, self.words[name], _WORDING) for name in ("thing", "place", "role") if name in self.words
        ]


@dataclass(frozen=True, slots=True)
class Example:
    """Something of the past as a prompt tells it: its text, the response, and the names of its features if told."""

    text: str
    response: str
    features: frozenset[str] | None = None


def read(text: str) -> Read | None:
    """`None` for a text that is none of the tasks'."""
    for task in TASKS:
        tables = task_tables(task)
        if matters := tables.found_in(text):
            return Read(task, matters, _words(text, tables, matters))
    return None


def respond(read: Read, examples: Sequence[Example], known: Mapping[str, Mapping[str, float]]) -> str:
    """By the examples that are about the same, else by how the person takes each matter, else as most people do."""
    alike = [example for example in examples if _alike(read, example)]
    match read.task:
        case "title":
            return _restyled(read, alike[0]) if alike else read.words.get("thing", "")
        case "rating":
            if alike:
                return str(round(fmean(int(example.response) for example in alike)))
            return _rating([known[m.name] for m in read.matters if m.name in known], known.values())
        case _:
            if alike:
                return multimode(example.response for example in alike)[0]
            return _tag(read.matters, known)


def _words(text: str, tables: TaskTables, matters: Iterable[Matter]) -> dict[str, str]:
    words = {matter.name: next(says for says in matter.says if says in text) for matter in matters}
    if tables is not task_tables("title"):
        return words
    things = [thing for matter in tables.matters for thing in matter.things]
    lists = {"thing": things, "place": load_tables(False).places, "role": tables.roles}
    found = {name: re.search(rf"\b({'|'.join(listed)})\b", text) for name, listed in lists.items()}
    return words | {name: hit[1] for name, hit in found.items() if hit}


def _alike(asked: Read, example: Example) -> bool:
    """Where no features are told, only the very same sentences show that two texts are about the same."""
    names = {matter.name for matter in asked.matters}
    if example.features is not None:
        return example.features & {m.name for m in task_tables(asked.task).matters} == names
    told = read(example.text)
    return told is not None and {told.words[m.name] for m in told.matters} == {asked.words[name] for name in names}


def _restyled(asked: Read, example: Example) -> str:
    """The example's title with the words of what is asked."""
    told, title = read(example.text), example.response
    if told is None:
        return title
    for name in ("thing", "place", "role"):
        if name in told.words and name in asked.words:
            title = title.replace(told.words[name], asked.words[name])
            title = title.replace(told.words[name].capitalize(), asked.words[name].capitalize())
    return title


def _rating(own: Sequence[Mapping[str, float]], every: Iterable[Mapping[str, float]]) -> str:
    """What each matter adds to the person's mean."""
    if not own:
        return _MIDDLE
    mean = fmean(map(_expected, every))
    points = mean + sum(_expected(shares) - mean for shares in own)
    return str(min(5, max(1, round(points))))


def _expected(shares: Mapping[str, float]) -> float:
    return sum(float(response) * share for response, share in shares.items())


def _tag(matters: Sequence[Matter], known: Mapping[str, Mapping[str, float]]) -> str:
    """The tag that goes with the matters most often, if they are known to have one."""
    shares: dict[str, float] = {}
    for matter in matters:
        for label, share in known.get(matter.name, {}).items():
            if label in matter.likely:
                shares[label] = max(share, shares.get(label, 0.0))
    return max(shares, key=shares.__getitem__) if shares else matters[0].likely[0]
