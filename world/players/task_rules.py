"""What rules can tell of the world's tasks from text alone: the matters that it is about, and the words of titles."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from ..data.lamp_tables import Subject, TaskTables, task_tables
from ..data.tables import load_tables

TASKS = ("tag", "rating", "title")
_KINDS = {"tag": "theme", "rating": "quality", "title": "subject"}
_RATED = "Rating: {} of 5"  # as it stands at the end of a post
_WORDING = "wording"
_MIDDLE = "3"


@dataclass(frozen=True, slots=True)
class Read:
    """What a text is about: its task, its matters, and the words that stand for its thing, place and role."""

    task: str
    matters: tuple[Subject, ...]
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
    """Something of the past as a prompt tells it; `number` is its place among the posts shown."""

    text: str
    response: str
    number: str = ""


def read(text: str) -> Read | None:
    """`None` for a text that is none of the tasks'."""
    for task in TASKS:
        tables = task_tables(task)
        if matters := tables.found_in(text):
            return Read(task, matters, _words(text, tables, matters))
    return None


def deciding(asked: Read, examples: Sequence[Example]) -> list[Example]:
    """What was about the same matters; else what was about one of them, all ratings or the first tag."""
    near = [example for example in examples if _behind(asked, example)]
    if asked.task == "rating":
        return _same(asked, near)[:1] or near
    return (_same(asked, near) or near)[:1]


def listed(example: Example) -> str:
    """The matters of its own that its tag may have been given for, over those that it cannot be for, and that."""
    told = read(example.text)
    matters = told.matters if told else ()
    return _given_for(matters, example.response, [one for one in matters if example.response not in one.likely])


def concluded(asked: Read, answer: str) -> str:
    """What is answered; a tag with the matters asked about that it is for."""
    return _given_for(asked.matters, answer) if asked.task == "tag" else answer


def _given_for(matters: Iterable[Subject], tag: str, over: Sequence[Subject] = ()) -> str:
    names = _names(matter for matter in matters if tag in matter.likely)
    if not names:
        return tag
    return f"{names} over {_names(over)}: {tag}" if over else f"{names}: {tag}"


def _names(matters: Iterable[Subject]) -> str:
    return " and ".join(matter.name for matter in matters)


def quoted(asked: Read, example: Example) -> str:
    """What of it leads to its rating, and that; a title leads to itself."""
    told = read(example.text)
    if told is None or asked.task == "title":
        return example.response
    cues = " ".join(told.words[matter.name] for matter in _behind(asked, example))
    return f"{cues} {_RATED.format(example.response)}"


def respond(asked: Read, examples: Sequence[Example], known: Mapping[str, Mapping[str, float]]) -> str:
    """By the examples that decide, those about one of the matters only where nothing is known of how they are taken."""
    found = _same(asked, examples) if known else deciding(asked, examples)
    match asked.task:
        case "title":
            return _restyled(asked, found[0]) if found else asked.words.get("thing", "")
        case "rating":
            return str(round(fmean(int(example.response) for example in found))) if found else _rating(asked, known)
        case _:
            return found[0].response if found else _tag(asked.matters, known)


def _words(text: str, tables: TaskTables, matters: Iterable[Subject]) -> dict[str, str]:
    words = {matter.name: next(says for says in matter.says if says in text) for matter in matters}
    if tables is not task_tables("title"):
        return words
    things = [thing for matter in tables.matters for thing in matter.things]
    lists = {"thing": things, "place": load_tables(False).places, "role": tables.roles}
    found = {name: re.search(rf"\b({'|'.join(listed)})\b", text) for name, listed in lists.items()}
    return words | {name: hit[1] for name, hit in found.items() if hit}


def _same(asked: Read, examples: Sequence[Example]) -> list[Example]:
    """The examples that are about all that is asked about."""
    return [example for example in examples if len(_shared(asked, example)) == len(asked.matters)]


def _shared(asked: Read, example: Example) -> list[Subject]:
    past = read(example.text)
    return [matter for matter in past.matters if matter in asked.matters] if past else []


def _behind(asked: Read, example: Example) -> list[Subject]:
    """What is asked about, and may be what the response was given for: a tag goes with some matters only."""
    shared = _shared(asked, example)
    return [matter for matter in shared if example.response in matter.likely] if asked.task == "tag" else shared


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


def _rating(asked: Read, known: Mapping[str, Mapping[str, float]]) -> str:
    """The person's mean, and what each matter adds to it."""
    if not known:
        return _MIDDLE
    mean = fmean(map(_expected, known.values()))
    points = mean + sum(_expected(known[matter.name]) - mean for matter in asked.matters if matter.name in known)
    return str(min(5, max(1, round(points))))


def _expected(shares: Mapping[str, float]) -> float:
    return sum(float(response) * share for response, share in shares.items())


def _tag(matters: Sequence[Subject], known: Mapping[str, Mapping[str, float]]) -> str:
    """The tag that goes with the matters most often, if they are known to have one."""
    shares: dict[str, float] = {}
    for matter in matters:
        for label, share in known.get(matter.name, {}).items():
            if label in matter.likely:
                shares[label] = max(share, shares.get(label, 0.0))
    return max(shares, key=shares.__getitem__) if shares else matters[0].likely[0]
