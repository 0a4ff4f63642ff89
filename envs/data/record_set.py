"""Questions read from numbered records: all are validated at the start, and none is kept."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from itertools import chain, count
from sys import intern
from typing import Self

from ...errors import DataError
from ..dates import in_time
from ..question import Document, Profile, Question
from .fields import Fields
from .leaks import Leaks, without_leaks
from .question_set import QuestionSet
from .records import Json, Records

_KEPT = 128  # questions most recently used


class RecordSet(QuestionSet):
    """One question a record; `parse` makes it from the record and its number.

    `leaks` is what the data set counts as a leak where its spec does not say.
    """

    def __init__(
        self, spec: str, records: Records, parse: Callable[[Fields, int], Question], leaks: Leaks = "strict"
    ) -> None:
        super().__init__(spec)
        self._records, self._parse, self._leaks = records, parse, leaks
        self._recent: dict[int, Question] = {}
        self._users: list[str] = []
        self._ids = self._validated()

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    def load(self, position: int) -> Question:
        question = self._recent.pop(position, None) or self._read(position)
        self._recent[position] = question  # the last one is the most recent one
        for stale in list(self._recent)[:-_KEPT]:
            self._recent.pop(stale, None)
        return question

    def user_of(self, position: int) -> str:
        return self._users[position]

    def screened(self, leaks: Leaks) -> Self:
        """The same records with another choice of what is a leak, not validated anew."""
        twin = copy(self)
        twin.spec, twin._leaks, twin._recent = f"{self.spec},leaks={leaks}", leaks, {}
        return twin

    def _validated(self) -> list[str]:
        numbers: dict[str, int] = {}
        for position, record in enumerate(self._records.scan()):
            question = self._question(position, record)
            self._users.append(intern(question.user_id))
            first = numbers.setdefault(question.id, position)
            if first != position:
                place = self._place(position, record)
                raise DataError(f"{place}, field id: record {first + 1} has it too; expected an id of its own")
        if not numbers:
            raise DataError(f"{self._records.label} holds no questions")
        return list(numbers)

    def _read(self, position: int) -> Question:
        question = self._question(position, self._records.read(position))
        if question.id != self._ids[position]:
            raise DataError(f"{self._records.label} changed after it was loaded; load it again")
        return without_leaks(question, self._leaks)

    def _question(self, position: int, record: Json) -> Question:
        return self._parse(Fields(record, self._place(position, record)), position + 1)

    def _place(self, position: int, record: Json) -> str:
        name = record.get("id", record.get("question_id"))
        named = f" (id {name!r})" if isinstance(name, str | int) else ""
        return f"{self._records.label}, record {position + 1}{named}"


def profile_of(user_id: str, documents: list[Document]) -> Profile:
    """Published items as a profile: by date where every one has a date, otherwise in the order they come in.

    An id that another item has already gets `#2`, `#3` …: the item stays whole, and an id names one document.
    """
    if len({document.id for document in documents}) < len(documents):
        documents = _with_own_ids(documents)
    if documents and all(document.date for document in documents):
        documents = sorted(documents, key=lambda document: in_time(document.date or ""))
    return Profile(user_id, tuple(documents))


def _with_own_ids(documents: list[Document]) -> list[Document]:
    own: dict[str, Document] = {}
    for document in documents:
        names = chain([document.id], (f"{document.id}#{n}" for n in count(2)))
        name = next(name for name in names if name not in own)
        own[name] = replace(document, id=name)
    return list(own.values())
