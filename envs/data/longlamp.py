"""LongLaMP: writing an e-mail, an abstract, a review or a post as the user would.

Numbered as in the paper (arXiv 2407.11016): 1 e-mails, 2 abstracts, 3 product reviews, 4 topics; some code on the
web swaps 3 and 4. `longlamp-2:PATH.json`, `longlamp-2:DIR/SPLIT` or, from the hub,
`longlamp-2:abstract_generation_user/test`.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...errors import DataError
from ..question import Document, Question, Rubric
from .fields import Fields
from .hub import HubRows, one_of
from .layout import Layout
from .record_set import RecordSet, profile_of
from .records import JsonFile, Records

REPOSITORY = "LongLaMP/LongLaMP"
SPLITS = ["train", "val", "test"]

_REVIEW = (("overall", "Rating: {} of 5"), ("description", "Product: {}"))


@dataclass(frozen=True, slots=True)
class Task:
    """What is written, under which name the hub has it, which field names the user, and how the items read."""

    about: str
    config: str | None
    user: str
    layouts: tuple[Layout, ...]


_TASKS = {
    "longlamp-1": Task("e-mails", None, "user_id", (Layout("text", "title"),)),
    "longlamp-2": Task("abstracts", "abstract_generation", "name", (Layout("abstract", "title"),)),
    "longlamp-3": Task("product reviews", "product_review", "reviewerId", (Layout("reviewText", "summary", _REVIEW),)),
    "longlamp-4": Task("topics", "topic_writing", "author", (Layout("output", "input"), Layout("content", "summary"))),
}


def load(name: str, rest: str) -> RecordSet:
    """Read `PATH.json`, `PATH.jsonl`, `DIR/SPLIT`, or `CONFIG/SPLIT` from the hub."""
    return RecordSet(f"{name}:{rest}", _records(name, rest), partial(_question, _TASKS[name]))


def _records(name: str, rest: str) -> Records:
    if rest.endswith((".json", ".jsonl")):
        return JsonFile(rest)
    folder, _, split = rest.rpartition("/")
    config = _TASKS[name].config
    if config and folder in (f"{config}_user", f"{config}_temporal"):
        return HubRows(REPOSITORY, folder, one_of("split", split, SPLITS))
    for path in (f"{rest}.json", f"{rest}.jsonl"):
        if Path(path).exists():
            return JsonFile(path)
    hub = f", or {config}_user/test for the hub" if config else ""
    raise DataError(f"{name}:{rest}: there is no {rest}.json and no {rest}.jsonl; name a file, DIR/SPLIT{hub}")


def _question(task: Task, record: Fields, number: int) -> Question:
    question_id = record.identifier() if record.has("id") else f"q{number}"
    named = next((field for field in ("user_id", task.user) if record.has(field)), None)
    user_id = record.identifier(named) if named else question_id
    items = enumerate(record.objects("profile"), 1)
    return Question(
        id=question_id,
        user_id=user_id,
        text=record.filled("input"),
        profile=profile_of(user_id, [_document(task, item, n) for n, item in items]),
        rubric=Rubric(reference=record.optional("output")),
        date=record.date(),
    )


def _document(task: Task, item: Fields, number: int) -> Document:
    for layout in task.layouts:
        if item.has(layout.text):
            return layout.document(item, number)
    others = [
        (name, other.about) for name, other in _TASKS.items() if any(item.has(each.text) for each in other.layouts)
    ]
    hint = "".join(f"; {name} reads {about}, as these may be" for name, about in others)
    raise item.wrong(task.layouts[0].text, f"the text of one of the user's {task.about}{hint}")
