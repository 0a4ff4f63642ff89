"""Rules that parse and answer the world's LaMP tasks from text alone."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from ..data.tables import Subject, TaskTables, load_tables, task_tables

TASKS = ("tag", "rating", "title")
_KINDS = {"tag": "theme", "rating": "quality", "title": "subject"}
_RATED = "Rating: {} of 5"  # at the end of a post
_WORDING = "wording"
_MIDDLE = "3"


@dataclass(frozen=True, slots=True)
class ParsedText:
    """The task of a text, its subjects, and the words for its thing, place and role."""

    task: str
    subjects: tuple[Subject, ...]
    words: Mapping[str, str]

    @property
    def features(self) -> list[tuple[str, str, str]]:
        """Name, context and factor of each feature."""
        kind = _KINDS[self.task]
        return [(subject.name, self.words[subject.name], kind) for subject in self.subjects] + [
            (name, self.words[name], _WORDING) for name in ("thing", "place", "role") if name in self.words
        ]


@dataclass(frozen=True, slots=True)
class Example:
    """A past item as a prompt shows it; `number` is its rank among the posts shown."""

    text: str
    response: str
    number: str = ""


def parse_text(text: str) -> ParsedText | None:
    """None for a text that is not from these tasks."""
    for task in TASKS:
        tables = task_tables(task)
        if subjects := tables.found_in(text):
            return ParsedText(task, subjects, _words(text, tables, subjects))
    return None


def deciding_examples(parsed: ParsedText, examples: Sequence[Example]) -> list[Example]:
    """The examples about the same subjects; else those about one of them: all for ratings, else the first."""
    near = [example for example in examples if _relevant(parsed, example)]
    if parsed.task == "rating":
        return _same(parsed, near)[:1] or near
    return (_same(parsed, near) or near)[:1]


def as_list(example: Example) -> str:
    """The subjects that the example's tag is likely for, over the others, and the tag."""
    past = parse_text(example.text)
    subjects = past.subjects if past else ()
    return _given_for(subjects, example.response, [one for one in subjects if example.response not in one.likely])


def conclusion(parsed: ParsedText, answer: str) -> str:
    """The answer; a tag with the subjects that it is for."""
    return _given_for(parsed.subjects, answer) if parsed.task == "tag" else answer


def _given_for(subjects: Iterable[Subject], tag: str, over: Sequence[Subject] = ()) -> str:
    names = _names(subject for subject in subjects if tag in subject.likely)
    if not names:
        return tag
    return f"{names} over {_names(over)}: {tag}" if over else f"{names}: {tag}"


def _names(subjects: Iterable[Subject]) -> str:
    return " and ".join(subject.name for subject in subjects)


def as_quote(parsed: ParsedText, example: Example) -> str:
    """The words that led to a rating, and the rating; a title stands for itself."""
    past = parse_text(example.text)
    if past is None or parsed.task == "title":
        return example.response
    cues = " ".join(past.words[subject.name] for subject in _relevant(parsed, example))
    return f"{cues} {_RATED.format(example.response)}"


def respond(parsed: ParsedText, examples: Sequence[Example], known: Mapping[str, Mapping[str, float]]) -> str:
    """By the deciding examples; those about only some of the subjects count only without `known` statistics."""
    found = _same(parsed, examples) if known else deciding_examples(parsed, examples)
    match parsed.task:
        case "title":
            return _restyled(parsed, found[0]) if found else parsed.words.get("thing", "")
        case "rating":
            return str(round(fmean(int(example.response) for example in found))) if found else _rating(parsed, known)
        case _:
            return found[0].response if found else _tag(parsed.subjects, known)


def _words(text: str, tables: TaskTables, subjects: Iterable[Subject]) -> dict[str, str]:
    words = {subject.name: next(says for says in subject.says if says in text) for subject in subjects}
    if tables is not task_tables("title"):
        return words
    things = [thing for subject in tables.subjects for thing in subject.things]
    lists = {"thing": things, "place": load_tables(False).places, "role": tables.roles}
    found = {name: re.search(rf"\b({'|'.join(choices)})\b", text) for name, choices in lists.items()}
    return words | {name: hit[1] for name, hit in found.items() if hit}


def _same(parsed: ParsedText, examples: Sequence[Example]) -> list[Example]:
    """The examples about all subjects asked about."""
    return [example for example in examples if len(_shared(parsed, example)) == len(parsed.subjects)]


def _shared(parsed: ParsedText, example: Example) -> list[Subject]:
    past = parse_text(example.text)
    return [subject for subject in past.subjects if subject in parsed.subjects] if past else []


def _relevant(parsed: ParsedText, example: Example) -> list[Subject]:
    """Shared subjects that may explain the response: a tag is likely for some subjects only."""
    shared = _shared(parsed, example)
    return [subject for subject in shared if example.response in subject.likely] if parsed.task == "tag" else shared


def _restyled(parsed: ParsedText, example: Example) -> str:
    """The example's title with the words of the text asked about."""
    past, title = parse_text(example.text), example.response
    if past is None:
        return title
    for name in ("thing", "place", "role"):
        if name in past.words and name in parsed.words:
            title = title.replace(past.words[name], parsed.words[name])
            title = title.replace(past.words[name].capitalize(), parsed.words[name].capitalize())
    return title


def _rating(parsed: ParsedText, known: Mapping[str, Mapping[str, float]]) -> str:
    """The user's mean rating plus the effect of each subject."""
    if not known:
        return _MIDDLE
    mean = fmean(map(_expected, known.values()))
    points = mean + sum(_expected(known[subject.name]) - mean for subject in parsed.subjects if subject.name in known)
    return str(min(5, max(1, round(points))))


def _expected(shares: Mapping[str, float]) -> float:
    return sum(float(response) * share for response, share in shares.items())


def _tag(subjects: Sequence[Subject], known: Mapping[str, Mapping[str, float]]) -> str:
    """The most frequent tag of the subjects, else the most likely one."""
    shares: dict[str, float] = {}
    for subject in subjects:
        for label, share in known.get(subject.name, {}).items():
            if label in subject.likely:
                shares[label] = max(share, shares.get(label, 0.0))
    return max(shares, key=shares.__getitem__) if shares else subjects[0].likely[0]
