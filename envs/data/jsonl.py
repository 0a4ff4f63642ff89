"""The package's own form: a question a line, with everything that is known of it. `docs/data.md` describes it.

The profiles stand in the questions, or each once in a file of their own: `jsonl:PATH,profiles=PATH`.
"""

import json
import marshal
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, cast, get_args

from ..._util.files import replacing
from ..._util.lru import Lru
from ...errors import DataError
from ..question import Aspect, Document, HistoryUse, Profile, Question, Rubric
from .fields import Fields
from .record_set import RecordSet, profile_of
from .records import JsonFile
from .trailing import split_trailing

_QUESTION = ("id", "user_id", "text", "profile", "rubric", "category", "date", "query")
DOCUMENT_FIELDS = ("id", "text", "date", "title", "speaker", "session", "meta")
_RUBRIC = ("narrative", "aspects", "reference", "hops", "history")
_ASPECT = ("title", "reason", "evidence", "accepted", "rejected", "documents", "sessions", "unresolved")
_KEPT = 64  # profiles most recently used

ProfileOf = Callable[[str, Fields], Profile]  # the profile of a user who asks the question in a record


def load(name: str, rest: str) -> RecordSet:
    """Read the questions of `PATH`. What their answers rest on may hold them: only the question itself is a leak."""
    path, options = split_trailing(rest, ("profiles",))
    if not path:
        raise DataError(f"{name} names no file; write {name}:PATH or {name}:PATH,profiles=PATH")
    profile_of_user = _ProfileFile(options["profiles"]) if options else _Embedded()
    known = tuple(field for field in _QUESTION if field != "profile") if options else _QUESTION
    parse = partial(_question, profile_of_user, known)
    return RecordSet(f"{name}:{rest}", JsonFile(path, lines=True), parse, leaks="question")


def write_jsonl(questions: Iterable[Question], path: str | Path, profiles: str | Path | None = None) -> None:
    """Write questions so that `jsonl:PATH`, or `jsonl:PATH,profiles=PROFILES`, reads the same ones again.

    The files are replaced when all is written: the questions may be read from them.
    """
    written: dict[str, Profile] = {}
    with replacing(Path(path)) as file:
        for question in questions:
            line = as_record(question) if profiles is None else _line(question)
            if profiles and written.setdefault(question.user_id, question.profile) != question.profile:
                raise DataError(
                    f"user {question.user_id!r} has two profiles, one of them in question {question.id!r}; "
                    "write one file, or load the data with leaks=none"
                )
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        if profiles is not None:
            with replacing(Path(profiles)) as users:
                for user_id, profile in written.items():
                    line = {"user_id": user_id, "profile": _documents(profile)}
                    users.write(json.dumps(line, ensure_ascii=False) + "\n")


def question_parser() -> Callable[[Fields, int], Question]:
    """Parses records that hold their profiles. Equal profiles of a user are one object."""
    return partial(_question, _Embedded(), _QUESTION)


def as_record(question: Question) -> dict[str, object]:
    """All that is known of a question, with its profile."""
    return _line(question) | {"profile": _documents(question.profile)}


class _Embedded:
    """Profiles that stand in their questions. Equal ones of a user are one object, so that it is indexed once."""

    def __init__(self) -> None:
        self._recent: Lru[bytes, Profile] = Lru(_KEPT)

    def __call__(self, user_id: str, record: Fields) -> Profile:
        # Version 2 writes equal values as equal bytes; were they not, the profile would only be made again.
        items: Any = record.values.get("profile")
        try:
            key = blake2b(marshal.dumps((user_id, items), 2), digest_size=16).digest()
        except ValueError:  # a value that JSON does not have, such as a time of a table
            return _profile(user_id, record)
        profile = self._recent.get(key)
        if profile is None:
            profile = _profile(user_id, record)
            self._recent.put(key, profile)
        return profile


class _ProfileFile:
    """Profiles by user, each a line of a file of their own; all are validated at the start."""

    def __init__(self, path: str) -> None:
        self._records = JsonFile(path, lines=True)
        self._recent: Lru[str, Profile] = Lru(_KEPT)
        self._positions: dict[str, int] = {}
        for position, record in enumerate(self._records.scan()):
            fields = self._fields(position, record)
            fields.only(("user_id", "profile"))
            user_id = fields.identifier("user_id")
            if self._positions.setdefault(user_id, position) != position:
                raise fields.wrong("user_id", "a user that no other line has")
            self._recent.put(user_id, _profile(user_id, fields))

    def __call__(self, user_id: str, record: Fields) -> Profile:
        profile = self._recent.get(user_id)
        if profile is None:
            if user_id not in self._positions:
                raise record.wrong("user_id", f"a user with a profile in {self._records.label}")
            position = self._positions[user_id]
            profile = _profile(user_id, self._fields(position, self._records.read(position)))
            self._recent.put(user_id, profile)
        return profile

    def _fields(self, position: int, record: Mapping[str, object]) -> Fields:
        return Fields(record, f"{self._records.label}, record {position + 1}")


def _question(profile_of_user: ProfileOf, known: tuple[str, ...], record: Fields, number: int) -> Question:
    record.only(known)
    user_id = record.identifier("user_id")
    return Question(
        id=record.identifier(),
        user_id=user_id,
        text=record.filled("text"),
        profile=profile_of_user(user_id, record),
        rubric=_rubric(record.object("rubric")) if record.has("rubric") else Rubric(),
        category=record.optional("category"),
        date=record.date(),
        query=record.optional("query") or "",
    )


def _profile(user_id: str, record: Fields) -> Profile:
    documents: dict[str, Document] = {}
    for item in record.objects("profile"):
        document = _document(item)
        if documents.setdefault(document.id, document) is not document:
            raise item.wrong("id", "an id that no other document of the profile has")
    return profile_of(user_id, list(documents.values()))


def _document(item: Fields) -> Document:
    item.only(DOCUMENT_FIELDS)
    return Document(
        id=item.identifier(),
        text=item.text("text"),
        date=item.date(),
        title=item.optional("title"),
        speaker=item.optional("speaker"),
        session=item.scalar("session") if item.has("session") else None,
        meta=item.pairs("meta"),
    )


def _rubric(fields: Fields) -> Rubric:
    fields.only(_RUBRIC)
    return Rubric(
        narrative=fields.optional("narrative") or "",
        aspects=tuple(_aspect(item) for item in fields.objects("aspects")) if fields.has("aspects") else (),
        reference=fields.optional("reference"),
        hops=fields.count("hops"),
        history=cast(HistoryUse | None, fields.word("history", get_args(HistoryUse))),
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
        sessions=fields.texts("sessions"),
        unresolved=fields.texts("unresolved"),
    )


def _line(question: Question) -> dict[str, object]:
    fields = {name: getattr(question, name) for name in ("id", "user_id", "text", "category", "date", "query")}
    aspects = [_known(aspect, _ASPECT) for aspect in question.rubric.aspects]
    rubric = _known(question.rubric, ("narrative", "reference", "hops", "history"))
    fields["rubric"] = rubric | {"aspects": aspects} if aspects else rubric
    return {name: value for name, value in fields.items() if value not in (None, "", {})}


def _documents(profile: Profile) -> list[dict[str, object]]:
    return [
        _known(document, DOCUMENT_FIELDS) | ({"meta": dict(document.meta)} if document.meta else {})
        for document in profile.documents
    ]


def _known(thing: Document | Rubric | Aspect, names: Iterable[str]) -> dict[str, object]:
    """The fields that are known: what is missing reads back as `None` or as an empty list."""
    values = {name: getattr(thing, name) for name in names}
    return {name: value for name, value in values.items() if value not in (None, ())}
