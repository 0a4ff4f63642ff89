"""JSON files of any size: one pass finds every record, and each is read again when it is wanted."""

import codecs
import json
import re
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO, NoReturn, Protocol

from ...errors import DataError
from .fields import short

Json = dict[str, object]
FileState = tuple[int, int]  # size and time of the last change

_CHUNK = 4 << 20  # bytes; many records each, since the record that a chunk cuts in two is decoded twice
_SPACE = re.compile(r"[ \t\r\n]*")
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")  # an escaped surrogate: fine in pairs, unreadable alone
_opened: ContextVar[dict[Path, FileState] | None] = ContextVar("opened", default=None)


class Records(Protocol):
    """Numbered JSON objects that need not be in memory."""

    label: str

    def scan(self) -> Iterator[Json]:
        """Every record in order; afterwards `read` knows where each one is."""

    def read(self, position: int) -> Json: ...


class JsonFile:
    """The records of a JSON list, or of JSON lines where that is said or the file's name ends in `.jsonl`."""

    def __init__(self, path: str, lines: bool = False) -> None:
        self.label = path
        self._path = Path(path)
        self._read_all = _lines if lines or path.endswith(".jsonl") else _elements
        self._starts, self._sizes = array("q"), array("q")
        self._state = state_of(self._path)
        if (opened := _opened.get()) is not None:
            opened[self._path] = self._state

    def scan(self) -> Iterator[Json]:
        self._starts, self._sizes = array("q"), array("q")
        with self._path.open("rb") as file:
            for start, size, record in self._read_all(file, self.label):
                self._starts.append(start)
                self._sizes.append(size)
                yield record

    def read(self, position: int) -> Json:
        if state_of(self._path) != self._state:
            raise DataError(f"{self.label} changed after it was loaded; load it again")
        with self._path.open("rb") as file:
            file.seek(self._starts[position])
            return _record(file.read(self._sizes[position]), f"{self.label}, record {position + 1}")


@contextmanager
def opened_files() -> Iterator[dict[Path, FileState]]:
    """The files of records that are opened inside, as they were then."""
    files: dict[Path, FileState] = {}
    token = _opened.set(files)
    try:
        yield files
    finally:
        _opened.reset(token)


def state_of(path: Path) -> FileState:
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if not path.is_file():
        raise DataError(f"{path} is not a file; expected a JSON list or JSON lines")
    return stat.st_size, stat.st_mtime_ns


def read_object(path: str) -> Json:
    """The object that a file holds, all at once."""
    JsonFile(path)  # says what is wrong with the path
    return _record(Path(path).read_bytes(), path)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _lines(file: BinaryIO, label: str) -> Iterator[tuple[int, int, Json]]:
    start = number = 0
    for line in file:
        if line.strip():
            number += 1
            yield start, len(line), _record(line, f"{label}, record {number}")
        start += len(line)


def _record(data: bytes, place: str) -> Json:
    try:
        text = data.decode("utf-8-sig")
        value, end = _DECODER.raw_decode(text, _SPACE.match(text).end())  # type: ignore[union-attr]
        if text[end:].strip():
            raise ValueError(f"{short(text[end:].strip())} follows the record")
    except (ValueError, RecursionError) as error:  # a UnicodeDecodeError and a JSONDecodeError are ValueErrors
        raise DataError(f"{place}: not valid JSON: {error}") from error
    return _checked(value, place, bool(_HALF_PAIR.search(text)))


def _checked(value: object, place: str, escapes_surrogates: bool) -> Json:
    if not isinstance(value, dict):
        raise DataError(f"{place}: found {short(value)}; expected an object")
    if escapes_surrogates:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            found = short(error.object[error.start : error.end])
            raise DataError(f"{place}: holds {found}, half of a character; write the whole character") from error
    return value


def _elements(file: BinaryIO, label: str) -> Iterator[tuple[int, int, Json]]:
    """Start, size and value of each member of a JSON list, through a window that slides over the file."""
    window = _Window(file, label)
    if window.next() != "[":
        expected = "expected a list of records, '[' first (JSON lines belong in a file named .jsonl)"
        raise DataError(f"{label}: found {window.excerpt()}; {expected}")
    window.skip()
    more = window.next() != "]"
    while more:
        yield window.record()
        more = window.comma()
    window.skip()
    if window.next():
        raise DataError(f"{label}: found {window.excerpt()} after the list; expected the end of the file")


class _Window:
    """The part of a file that has been read and not yet used, as text, and its place in the file."""

    def __init__(self, file: BinaryIO, label: str) -> None:
        self._file, self._label = file, label
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text, self._at = "", 0
        self._start = 0  # in bytes, of the character at `_at`
        self._number = 1  # of the record that comes next
        self._ended = False
        self._more()
        if self._text.startswith("\ufeff"):
            self.skip()

    def next(self) -> str:
        """The first character that is not white space; empty at the end of the file."""
        while True:
            end = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            self._start += end - self._at
            self._at = end
            if end < len(self._text) or not self._more():
                return self._text[end : end + 1]

    def skip(self) -> None:
        self._advance(self._at + 1)

    def comma(self) -> bool:
        """Whether another record follows; otherwise the list is over."""
        mark = self.next()
        if not mark:
            self.cut_short()
        if mark not in ",]":
            self.broken("Expecting ',' or ']' after a record", self._at)
        if mark == ",":
            self.skip()
        return mark == ","

    def record(self) -> tuple[int, int, Json]:
        if self.next() == "":
            self.cut_short()
        value, end = self._value()
        record = _checked(value, self._place(), bool(_HALF_PAIR.search(self._text, self._at, end)))
        start = self._start
        self._advance(end)
        self._number += 1
        return start, self._start - start, record

    def _value(self) -> tuple[object, int]:
        while True:
            try:
                return _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # A decoder that runs out of text complains within a literal's or an escape's length of the end.
                unterminated = error.msg.startswith("Unterminated string")
                if not self._ended and (unterminated or error.pos > len(self._text) - 16):
                    self._more()
                elif unterminated or error.pos >= len(self._text):
                    self.cut_short()
                else:
                    self.broken(error.msg, error.pos)
            except (ValueError, RecursionError) as error:
                self.broken(str(error), self._at)

    def cut_short(self) -> NoReturn:
        raise DataError(f"{self._place()}: the file ends before its list does; is it a part of a download?")

    def broken(self, why: str, at: int) -> NoReturn:
        byte = self._start + len(self._text[self._at : at].encode())
        around = self._text[max(0, at - 20) : at + 20]
        raise DataError(f"{self._place()}, byte {byte}: not valid JSON: {why}; it stands in {around!r}")

    def excerpt(self) -> str:
        return short(self._text[self._at : self._at + 60]) if self._at < len(self._text) else "the end of the file"

    def _more(self) -> bool:
        """Read on, dropping what is used up; at least as much as is left, so that a huge record costs linear time."""
        left = self._text[self._at :]
        data = self._file.read(max(_CHUNK, len(left)))
        self._text, self._at = left + self._decoded(data), 0
        self._ended = not data
        return bool(data)

    def _decoded(self, data: bytes) -> str:
        try:
            return self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            byte = self._file.tell() - len(error.object) + error.start
            if error.start == 0:
                raise DataError(f"{self._place()}, byte {byte}: not valid UTF-8; save the file as UTF-8") from error
            self._file.seek(byte)  # what comes before may hold whole records: complain when it is used up
            self._decoder.reset()
            return error.object[: error.start].decode()

    def _advance(self, end: int) -> None:
        self._start += end - self._at if self._text.isascii() else len(self._text[self._at : end].encode())
        self._at = end

    def _place(self) -> str:
        return f"{self._label}, record {self._number}"
