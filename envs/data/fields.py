"""Typed access to one JSON object, with errors that name file, record and field."""

import re
import reprlib
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime

from ...errors import DataError

_shortened = reprlib.Repr()
_shortened.maxstring = _shortened.maxother = 60
_DATE = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2})([T ].+)?)?)?")


def short(value: object) -> str:
    """What was found, in a length that fits a message."""
    return _shortened.repr(value)


class Fields:
    """The fields of one object; `place` says which record it belongs to, `path` where in that record it stands."""

    __slots__ = ("path", "place", "values")

    def __init__(self, values: Mapping[str, object], place: str, path: str = "") -> None:
        self.values = values
        self.place = place
        self.path = path

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self.values.get(name) is not None

    def text(self, name: str) -> str:
        value = self.values.get(name)
        if type(value) is not str:
            raise self.wrong(name, "a string")
        return value

    def filled(self, name: str) -> str:
        """A string with something in it."""
        if not self.text(name).strip():
            raise self.wrong(name, "a string that is not empty")
        return self.text(name)

    def optional(self, name: str) -> str | None:
        """A string, or `None` where the field is missing or null."""
        return self.text(name) if self.has(name) else None

    def scalar(self, name: str) -> str:
        """A string or a number, as a string: ids, ratings and labels come as either."""
        value = self.values.get(name)
        if type(value) is str:
            return value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(name, "a string or a number")
        return str(value)

    def identifier(self, name: str = "id") -> str:
        identifier = self.scalar(name)
        if not identifier.strip():
            raise self.wrong(name, "an id that is not empty")
        return identifier

    def count(self, name: str) -> int | None:
        """A whole number from 0, or `None` where the field is missing or null."""
        value = self.values.get(name)
        if value is not None and (type(value) is not int or value < 0):
            raise self.wrong(name, "a whole number from 0")
        return value if isinstance(value, int) else None

    def date(self, name: str = "date") -> str | None:
        """An ISO 8601 date, its month and day padded, or `None` where the field is missing or null."""
        if not self.has(name):
            return None
        date = iso_date(self.scalar(name))
        if date is None:
            raise self.wrong(name, "a date such as 2019-07-30, 2019-07 or 2019")
        return date

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings; none where the field is missing or null."""
        value = self.values.get(name)
        if value is not None and not (isinstance(value, list) and all(type(item) is str for item in value)):
            raise self.wrong(name, "a list of strings")
        return tuple(value) if isinstance(value, list) else ()

    def word(self, name: str, words: Collection[str]) -> str | None:
        """One of some words, or `None` where the field is missing or null."""
        if self.has(name) and self.values[name] not in words:
            raise self.wrong(name, f"one of {', '.join(words)}")
        return self.optional(name)

    def pairs(self, name: str) -> tuple[tuple[str, str], ...]:
        """An object of strings, in its order; none where the field is missing or null."""
        if not self.has(name):
            return ()
        pairs = self.object(name)
        return tuple((key, pairs.text(key)) for key in pairs.values)

    def object(self, name: str) -> "Fields":
        value = self.values.get(name)
        if not isinstance(value, dict):
            raise self.wrong(name, "an object")
        return Fields(value, self.place, self._path(name))

    def objects(self, name: str) -> "Iterator[Fields]":
        """The members of a list of objects."""
        value = self.values.get(name)
        if not isinstance(value, list):
            raise self.wrong(name, "a list of objects")
        place, path = self.place, self._path(name)
        for index, item in enumerate(value):
            if type(item) is not dict:
                raise DataError(f"{place}, field {path}[{index}]: found {short(item)}; expected an object")
            yield Fields(item, place, f"{path}[{index}]")

    def only(self, known: Collection[str]) -> None:
        """Refuse a field that nobody reads: it is a slip of the pen more often than a surplus."""
        for name in self.values:
            if name not in known:
                raise DataError(f"{self.place}, field {self._path(name)}: not known; expected {', '.join(known)}")

    def wrong(self, name: str, expected: str) -> DataError:
        found = f"found {short(self.values[name])}" if name in self.values else f"missing among {self._names()}"
        return DataError(f"{self.place}, field {self._path(name)}: {found}; expected {expected}")

    def _names(self) -> str:
        return short(", ".join(self.values)) if self.values else "no fields at all"

    def _path(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


def iso_date(text: str) -> str | None:
    """`2019-7-3` -> `2019-07-03`; a year or a month alone stays one; `None` for what is no date."""
    match = _DATE.fullmatch(text.strip())
    if match is None:
        return None
    year, month, day, time = match.groups()
    date = "-".join([year, *(part.zfill(2) for part in (month, day) if part)])
    try:
        datetime.fromisoformat(date + "-01-01"[len(date) - 4 :] + (time or ""))
    except ValueError:
        return None
    return date + (time or "").replace(" ", "T", 1)
