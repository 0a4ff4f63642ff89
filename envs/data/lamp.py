"""LaMP: seven tasks of labelling, rating, naming and rewording as the user would.

`lamp-3:DIR/SPLIT` reads `DIR/SPLIT_questions.json` and `DIR/SPLIT_outputs.json`, in the user split or the time split;
`lamp-3:FILE.json` reads the merged form, where each record has its output.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...errors import DataError
from ..question import Question, Rubric
from .fields import Fields
from .layout import Layout
from .record_set import RecordSet, profile_of
from .records import JsonFile, read_object

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True, slots=True)
class Task:
    """How a task's profile items read, and what of its input is not instruction: a pattern with one group."""

    layout: Layout
    query: str


_TASKS = {
    "lamp-1": Task(Layout("abstract", "title"), r'"(.+?)", which reference'),
    "lamp-2": Task(Layout("description", lines=(("tag", "Tag: {}"),)), r"description:(.+)"),
    "lamp-3": Task(Layout("text", lines=(("score", "Rating: {} of 5"),)), r"review:(.+)"),
    "lamp-4": Task(Layout("text", "title"), r"article:(.+)"),
    "lamp-5": Task(Layout("abstract", "title"), r"paper:(.+)"),
    "lamp-6": Task(Layout("text", "title"), r":(.+)"),
    "lamp-7": Task(Layout("text"), r":(.+)"),
}


def load(name: str, rest: str) -> RecordSet:
    """Read `DIR/SPLIT`, or a merged `FILE.json`."""
    spec = f"{name}:{rest}"
    if rest.endswith((".json", ".jsonl")):
        return RecordSet(spec, JsonFile(rest), reading(name))
    split = rest.rpartition("/")[2]
    if split not in SPLITS:
        raise DataError(f"{spec} names no split; write {name}:DIR/train, DIR/dev, DIR/test, or {name}:FILE.json")
    records = JsonFile(f"{rest}_questions.json")
    golds = _golds(name, f"{rest}_outputs.json", hidden=split == "test")
    questions = RecordSet(spec, records, reading(name, golds))
    if golds and (strangers := golds.keys() - set(questions.ids)):
        raise DataError(f"{rest}_outputs.json: id {min(strangers)!r} is no question of {records.label}")
    return questions


def reading(name: str, golds: dict[str, str] | None = None) -> Callable[[Fields, int], Question]:
    """How a record of a task becomes a question.

    Without `golds` the merged form is expected, in which the output stands in the record.
    """
    return partial(_question, _TASKS[name], golds)


def _golds(name: str, path: str, hidden: bool) -> dict[str, str] | None:
    """The outputs by question id; `None` where a test split keeps them to itself."""
    if hidden and not Path(path).exists():
        return None
    outputs = Fields(read_object(path), path)
    if outputs.scalar("task") not in (name.replace("lamp-", "LaMP_"), "LaMP_2M" if name == "lamp-2" else None):
        raise outputs.wrong("task", repr(name.replace("lamp-", "LaMP_")))
    golds: dict[str, str] = {}
    for gold in outputs.objects("golds"):
        if golds.setdefault(gold.identifier(), output := gold.scalar("output")) != output:
            raise gold.wrong("id", "one output for each id")
    return golds


def _question(task: Task, golds: dict[str, str] | None, record: Fields, number: int) -> Question:
    question_id = record.identifier()
    user_id = record.identifier("user_id") if record.has("user_id") else question_id
    if golds is None:
        reference = record.scalar("output") if record.has("output") else None
    elif question_id in golds:
        reference = golds[question_id]
    else:
        raise record.wrong("id", "an id that the outputs have too")
    text = record.filled("input")
    return Question(
        id=question_id,
        user_id=user_id,
        text=text,
        profile=profile_of(user_id, task.layout.documents(record)),
        rubric=Rubric(reference=reference),
        date=record.date(),
        query=_query(task, text),
    )


def _query(task: Task, text: str) -> str:
    """LaMP's own baselines search with the input less its instruction, too."""
    found = re.search(task.query, text, re.DOTALL)
    return found[1].strip() if found else ""
