"""Questions as a `Dataset` of Hugging Face's library, and back, without files."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from ...errors import DataError, MissingExtra
from .fields import iso_date
from .jsonl import DOCUMENT_FIELDS, as_record, question_parser
from .question_set import QuestionSet
from .record_set import RecordSet
from .records import Json

Rows = Sequence[Mapping[str, Any]]
_FIELDS = ("id", "user_id", "text", "profile", "rubric", "category", "date", "query")


def from_rows(rows: Rows, mapping: Mapping[str, str], spec: str) -> QuestionSet:
    """Reads the columns that have the names of fields, and those that the mapping names: `{"text": "question"}`.

    `profile.text` and other fields of a document are mapped as `{"profile.text": "body"}`, those of the rubric as
    `{"rubric.reference": "answer"}`. A document may be a bare text, and an aspect its title.
    """
    return RecordSet(spec, _Mapped(rows, mapping, spec), question_parser(), leaks="question")


def to_dataset(questions: QuestionSet) -> Any:
    """A `datasets.Dataset` that `QuestionSet.from_hf` reads back."""
    try:
        library = importlib.import_module("datasets")
    except ImportError as error:
        raise MissingExtra("a Dataset of questions", "hub") from error
    return library.Dataset.from_list([as_record(question) for question in questions])


class _Mapped:
    """Rows with the fields of this package."""

    def __init__(self, rows: Rows, mapping: Mapping[str, str], label: str) -> None:
        self.label = label
        self._rows = rows
        self._mapping = {name: name for name in _FIELDS} | dict(mapping)
        if len(rows):
            self._check(rows[0], mapping)

    def scan(self) -> Iterator[Json]:
        return map(self.read, range(len(self._rows)))

    def read(self, position: int) -> Json:
        row = self._rows[position]
        record: Json = {name: row.get(self._mapping[name]) for name in _FIELDS}
        rubric = {
            name.partition(".")[2]: row.get(column)
            for name, column in self._mapping.items()
            if name.startswith("rubric.")
        }
        if rubric:
            known: Any = record["rubric"]
            record["rubric"] = {**(known or {}), **rubric}
        documents: Any = record["profile"]
        if isinstance(documents, list):
            record["profile"] = [self._document(item, number) for number, item in enumerate(documents, 1)]
        found: Any = _without_nulls(record)
        aspects = found.get("rubric", {}).get("aspects") if isinstance(found.get("rubric"), dict) else None
        if isinstance(aspects, list):
            found["rubric"]["aspects"] = [{"title": one} if isinstance(one, str) else one for one in aspects]
        return dict(found)

    def _document(self, item: Any, number: int) -> Any:
        if isinstance(item, str):
            return {"id": f"d{number}", "text": item}
        if not isinstance(item, Mapping):
            return item
        prefix = "profile."
        named = {name.removeprefix(prefix): by for name, by in self._mapping.items() if name.startswith(prefix)}
        kept = {name: value for name, value in item.items() if not named or _fits(name, value)}
        return {"id": f"d{number}", **_without_nulls(kept), **{name: item.get(by) for name, by in named.items()}}

    def _check(self, row: Mapping[str, Any], mapping: Mapping[str, str]) -> None:
        for name, column in mapping.items():
            if name.partition(".")[0] not in _FIELDS:
                raise DataError(f"{self.label}: no field {name!r} of a question; known: {', '.join(_FIELDS)}")
            if not name.startswith("profile.") and column not in row:
                near = get_close_matches(column, row, 1)
                meant = f"; did you mean {near[0]!r}?" if near else f"; it has: {', '.join(row)}"
                raise DataError(f"{self.label}: no column {column!r} for the field {name!r}{meant}")


def _fits(name: str, value: Any) -> bool:
    """Whether a field that no option names is one of ours, and not just of its name."""
    match name:
        case "date":
            return isinstance(value, str) and iso_date(value) is not None
        case "id" | "session":
            return isinstance(value, str | int)
        case "meta":
            return isinstance(value, Mapping) and all(isinstance(one, str) for one in value.values())
    return name in DOCUMENT_FIELDS and isinstance(value, str)


def _without_nulls(value: Any) -> Any:
    """Columns have one type for all rows, so what a row does not have is null in it."""
    if isinstance(value, Mapping):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value
