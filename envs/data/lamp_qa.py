"""LaMP-QA: questions of forum users, their earlier posts, and the aspects that an answer must cover.

`lamp-qa:PATH.json` reads the published JSON, `lamp-qa:CONFIG/SPLIT` the data set's home on the hub. All three
configurations together, each a category, are `lamp-qa:FOLDER/SPLIT` and `lamp-qa:all/SPLIT`.
"""

from functools import partial
from pathlib import Path

from ...errors import DataError
from ..question import Aspect, Document, Question, Rubric
from .fields import Fields
from .hub import HubRows, one_of
from .question_set import JoinedQuestions, QuestionSet
from .record_set import RecordSet, profile_of
from .records import JsonFile, Records

REPOSITORY = "alireza7/LaMP-QA"
CONFIGS = ["Art_and_Entertainment", "Lifestyle_and_Personal_Development", "Society_and_Culture"]
SPLITS = ["train", "validation", "test"]
ALL = "all"


def load(name: str, rest: str) -> QuestionSet:
    """Read `PATH.json`, the three files of `FOLDER/SPLIT`, or `CONFIG/SPLIT` or `all/SPLIT` from the hub."""
    folder, _, split = rest.rpartition("/")
    if split in SPLITS and folder == ALL:
        return JoinedQuestions([load(name, f"{config}/{split}") for config in CONFIGS], f"{name}:{rest}")
    if split in SPLITS and folder not in CONFIGS and Path(folder).is_dir():
        files = [f"{folder}/{config}_{split}.json" for config in CONFIGS]
        return JoinedQuestions([load(name, file) for file in files], f"{name}:{rest}")
    records, category = _records(rest)
    return RecordSet(f"{name}:{rest}", records, partial(_question, category))


def _records(rest: str) -> tuple[Records, str | None]:
    if rest.endswith((".json", ".jsonl")):
        named = (config for config in CONFIGS if Path(rest).name.startswith(config))
        return JsonFile(rest), next(named, None)
    config, _, split = rest.rpartition("/")
    if not config:
        raise DataError(f"lamp-qa:{rest} names no data; write lamp-qa:PATH.json or lamp-qa:{CONFIGS[0]}/test")
    return HubRows(REPOSITORY, one_of("LaMP-QA configuration", config, CONFIGS), one_of("split", split, SPLITS)), config


def _question(category: str | None, record: Fields, number: int) -> Question:
    question_id = record.identifier()
    user_id = record.identifier("user_id") if record.has("user_id") else question_id
    return Question(
        id=question_id,
        user_id=user_id,
        text=record.filled("question"),
        profile=profile_of(user_id, [_document(item) for item in record.objects("profile")]),
        rubric=Rubric(record.text("narrative"), tuple(_aspect(item) for item in record.objects("rubric_aspects"))),
        category=record.optional("category") or category,
        date=record.date(),
    )


def _document(item: Fields) -> Document:
    return Document(item.identifier(), item.text("text"), item.date())


def _aspect(item: Fields) -> Aspect:
    return Aspect(item.filled("aspect"), item.optional("reason") or "", item.optional("evidence") or "")
