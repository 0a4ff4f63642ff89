"""The package's own form: a question a line, with everything that is known of it. `docs/data.md` describes it."""

import json
from collections.abc import Iterable
from pathlib import Path

from ...errors import DataError
from ..question import Aspect, Document, Profile, Question, Rubric
from .fields import Fields
from .record_set import RecordSet, profile_of
from .records import JsonFile

_QUESTION = ("id", "user_id", "text", "profile", "rubric", "category", "date", "query")
_DOCUMENT = ("id", "text", "date", "title")
_RUBRIC = ("narrative", "aspects", "reference", "hops")
_ASPECT = ("title", "reason", "evidence", "accepted", "rejected", "documents")


def load(name: str, rest: str) -> RecordSet:
    """Read the questions of `PATH`. What their answers rest on may hold them: only the question itself is a leak."""
    if not rest:
        raise DataError(f"{name} names no file; write {name}:PATH")
    return RecordSet(f"{name}:{rest}", JsonFile(rest, lines=True), _question, leaks="question")


def write_jsonl(questions: Iterable[Question], path: str | Path) -> None:
    """Write questions so that `jsonl:PATH` reads the same ones again."""
    with Path(path).open("w", encoding="utf-8") as file:
        for question in questions:
            file.write(json.dumps(_line(question), ensure_ascii=False) + "\n")


def _question(record: Fields, number: int) -> Question:
    record.only(_QUESTION)
    user_id = record.identifier("user_id")
    return Question(
        id=record.identifier(),
        user_id=user_id,
        text=record.filled("text"),
        profile=_profile(user_id, record),
        rubric=_rubric(record.object("rubric")) if record.has("rubric") else Rubric(),
        category=record.optional("category"),
        date=record.date(),
        query=record.optional("query") or "",
    )


def _profile(user_id: str, record: Fields) -> Profile:
    documents: dict[str, Document] = {}
    for item in record.objects("profile"):
        item.only(_DOCUMENT)
        document = Document(item.identifier(), item.text("text"), item.date(), item.optional("title"))
        if documents.setdefault(document.id, document) is not document:
            raise item.wrong("id", "an id that no other document of the profile has")
    return profile_of(user_id, list(documents.values()))


def _rubric(fields: Fields) -> Rubric:
    fields.only(_RUBRIC)
    return Rubric(
        narrative=fields.optional("narrative") or "",
        aspects=tuple(_aspect(item) for item in fields.objects("aspects")) if fields.has("aspects") else (),
        reference=fields.optional("reference"),
        hops=fields.count("hops"),
    )


def _aspect(fields: Fields) -> Aspect:
    fields.only(_ASPECT)
    return Aspect(
        title=fields.filled("title"),
        reason=fields.optional("reason") or "",
        evidence=fields.optional("evidence") or "",
        accepted=fields.texts("accepted"),
        rejected=fields.texts("rejected"),
        documents=fields.texts("documents"),
    )


def _line(question: Question) -> dict[str, object]:
    fields = {name: getattr(question, name) for name in ("id", "user_id", "text", "category", "date", "query")}
    fields["profile"] = [_known(document, _DOCUMENT) for document in question.profile.documents]
    aspects = [_known(aspect, _ASPECT) for aspect in question.rubric.aspects]
    rubric = _known(question.rubric, ("narrative", "reference", "hops"))
    fields["rubric"] = rubric | {"aspects": aspects} if aspects else rubric
    return {name: fields[name] for name in _QUESTION if fields[name] not in (None, "", {})}


def _known(thing: Document | Rubric | Aspect, names: Iterable[str]) -> dict[str, object]:
    """The fields that are known: what is missing reads back as `None` or as an empty list."""
    values = {name: getattr(thing, name) for name in names}
    return {name: value for name, value in values.items() if value not in (None, ())}
