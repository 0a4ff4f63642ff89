"""An SQLite index of a trajectory file: the columns of the table, the text to search, and the place of each line.

It grows with the file, which is read again only for the lines that are shown.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any, BinaryIO, NamedTuple

from ..._util.sqlite import write_ahead
from ...envs.trajectory import Trajectory
from ...errors import DataError
from .entry import COLUMNS, Entry
from .late_verdicts import apply_late_verdicts

VERSION = 1  # of the tables; an index of another version is built again
LONGEST = 64 << 20  # bytes; a longer line is reported and skipped
_BATCH = 8 << 20  # bytes of lines added in one transaction
_LOCK_SECONDS = 30.0  # how long to wait while another process writes
_EDGE = 4096  # bytes at both ends of what was read that tell whether the file is still the same

_TABLES = f"""
CREATE TABLE lines (row INTEGER PRIMARY KEY, at INTEGER, size INTEGER, {", ".join(COLUMNS)}, UNIQUE (id));
CREATE INDEX by_choice ON lines (kind, ended, hops, searches);
CREATE INDEX by_question ON lines (question_id, attempt, kind);
CREATE VIRTUAL TABLE words USING fts5 (question, queries, answer, tokenize = 'unicode61');
CREATE TABLE marks (row INTEGER, mark TEXT);
CREATE INDEX by_mark ON marks (mark, row);
CREATE INDEX marks_of ON marks (row);
CREATE TABLE bad (row INTEGER PRIMARY KEY, at INTEGER, size INTEGER, problem TEXT);
CREATE TABLE progress (version INTEGER, lines INTEGER, bytes INTEGER, head TEXT, tail TEXT);
CREATE TABLE healed (bytes INTEGER);
INSERT INTO healed VALUES (0);
"""  # noqa: S608 (no outside text)

Read = Callable[[Trajectory], Entry]


class Line(NamedTuple):
    """A line of the file; `data` is empty if it is too long."""

    row: int
    at: int
    size: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of the file is in the index."""

    lines: int = 0
    bytes: int = 0
    of: int = 0

    @property
    def share(self) -> float:
        return self.bytes / self.of if self.of else 1.0


class _DamagedError(DataError):
    """SQLite cannot read what it wrote."""


class Index:
    """`read` makes the entry of a trajectory; `verdicts` is the file of later verdicts."""

    def __init__(self, file: Path, read: Read, verdicts: Path | None = None) -> None:
        self.file = file
        self._verdicts = verdicts
        self.path = file.with_name(f".{file.stem}.index")
        self.progress = Progress()
        self._read = read
        self._lock = Lock()

    def refresh(self, seconds: float = 0.3) -> Progress:
        """Index new lines for about so many seconds. Called again, it continues. A damaged index is built again."""
        with self._lock:
            try:
                self.progress = self._refreshed(seconds)
            except _DamagedError:
                self._delete()
                self.progress = self._refreshed(seconds)
            return self.progress

    def ask(self, query: str, values: Any = (), beside: "Index | None" = None) -> list[sqlite3.Row]:
        """Rows of this index; the tables of another index are available as `other`."""
        try:
            return self._rows(query, values, beside)
        except _DamagedError:
            for index in filter(None, (self, beside)):  # SQLite does not say which is damaged
                index.rebuild()
            return self._rows(query, values, beside)

    def rebuild(self) -> None:
        """Throw the index away, and begin to build it again."""
        with self._lock:
            self._delete()
        self.refresh()

    def trajectory(self, row: int) -> Trajectory:
        """The trajectory on that line. Raises `DataError` if there is none."""
        found = self.ask("SELECT at, size, id FROM lines WHERE row = ?", (row,))
        if not found:
            problem = self.ask("SELECT problem FROM bad WHERE row = ?", (row,))
            raise DataError(f"line {row}: {problem[0]['problem']}" if problem else f"there is no line {row}")
        trajectory = Trajectory.from_json(self._bytes(found[0]["at"], found[0]["size"]))
        if trajectory.id != found[0]["id"]:
            raise DataError(f"{self.file} was changed under its index: delete {self.path}")
        return trajectory

    def row_of(self, trajectory_id: str) -> int | None:
        found = self.ask("SELECT row FROM lines WHERE id = ?", (trajectory_id,))
        return found[0]["row"] if found else None

    def text(self, row: int) -> bytes:
        """The line as it is in the file."""
        query = "SELECT at, size FROM lines WHERE row = ? UNION SELECT at, size FROM bad WHERE row = ?"
        found = self.ask(query, (row, row))
        if not found:
            raise DataError(f"there is no line {row}")
        return self._bytes(*found[0])

    def _bytes(self, at: int, size: int) -> bytes:
        with self.file.open("rb") as file:
            file.seek(at)
            return file.read(size)

    def _refreshed(self, seconds: float) -> Progress:
        end = monotonic() + seconds
        with self._tables() as tables, self.file.open("rb") as file:
            progress, more = self._index_batch(tables, file)
            while more and monotonic() < end:
                progress, more = self._index_batch(tables, file)
            if not more and self._verdicts and self._verdicts.exists():
                apply_late_verdicts(tables, self._verdicts)
            return progress

    def _rows(self, query: str, values: Any, beside: "Index | None") -> list[sqlite3.Row]:
        with self._tables() as tables:
            if beside is not None:
                tables.execute("ATTACH ? AS other", (str(beside.path),))
            return tables.execute(query, values).fetchall()

    def _delete(self) -> None:
        for ending in ("-wal", "-shm", "-journal", ""):
            try:
                self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
            except OSError as error:
                raise DataError(f"{self.path} is damaged and cannot be built again: delete it ({error})") from error

    @contextmanager
    def _tables(self) -> Iterator[sqlite3.Connection]:
        """A connection for one use. Raises `DataError` where SQLite fails."""
        try:
            with closing(sqlite3.connect(self.path, _LOCK_SECONDS, isolation_level=None)) as tables:
                tables.row_factory = sqlite3.Row
                tables.execute("PRAGMA synchronous = OFF")  # an index that a crash corrupts is built again
                write_ahead(tables, _LOCK_SECONDS)  # tables can be read while they grow
                yield tables
        except sqlite3.DatabaseError as error:
            if _is_damage(error):
                raise _DamagedError(f"{self.path} is damaged ({error}): delete it, and it is built again") from error
            advice = "may you write there, and does no other process hold it?"
            raise DataError(f"{self.path} can be neither read nor written ({error}): {advice}") from error

    def _index_batch(self, tables: sqlite3.Connection, file: BinaryIO) -> tuple[Progress, bool]:
        """Index one batch. Returns whether there may be more complete lines.

        Progress is read in the transaction, as another process may index the same file.
        """
        tables.execute("BEGIN IMMEDIATE")
        progress = _progress(tables, file) or _emptied(tables, file)
        lines = list(_finished(file, progress))
        for line in lines:
            self._add(tables, line)
        if lines:
            progress = Progress(lines[-1].row, lines[-1].at + lines[-1].size, progress.of)
            _note(tables, file, progress)
        tables.execute("COMMIT")
        return progress, bool(lines) and progress.bytes < progress.of

    def _add(self, tables: sqlite3.Connection, line: Line) -> None:
        place = line[:3]
        try:
            entry = self._read(_parsed(line))
            self._insert(tables, line, entry)
        except _ODD as error:  # anything may stand in a line
            tables.execute("DELETE FROM words WHERE rowid = ?", (line.row,))
            tables.execute("DELETE FROM marks WHERE row = ?", (line.row,))
            tables.execute("INSERT INTO bad VALUES (?, ?, ?, ?)", (*place, _printable(error)))

    def _insert(self, tables: sqlite3.Connection, line: Line, entry: Entry) -> None:
        """The line itself last: where it cannot be inserted, one that it would replace stays."""
        if entry.marks:
            tables.executemany("INSERT INTO marks VALUES (?, ?)", [(line.row, mark) for mark in entry.marks])
        words = "INSERT INTO words (rowid, question, queries, answer) VALUES (?, ?, ?, ?)"
        tables.execute(words, (line.row, *entry.words))
        known = tables.execute("SELECT 1 FROM lines WHERE id = ?", entry.values[:1]).fetchone()
        tables.execute(_INSERT, (*line[:3], *entry.values))  # an episode played again replaces the first
        if known:  # a verdict on the same answer holds for it, too
            tables.execute("UPDATE healed SET bytes = 0")


_ODD = (
    *(DataError, TypeError, ValueError, KeyError, AttributeError, OverflowError, RecursionError),
    *(sqlite3.ProgrammingError, sqlite3.InterfaceError),
)
_INSERT = f"INSERT OR REPLACE INTO lines VALUES ({', '.join('?' * (len(COLUMNS) + 3))})"  # noqa: S608 (no outside text)


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """A text that is not UTF-8 has no code."""
    if isinstance(error, sqlite3.ProgrammingError | sqlite3.InterfaceError):  # of a value that SQLite does not take
        return False
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _printable(error: Exception) -> str:
    return str(error).encode("utf-8", "replace").decode()


def _parsed(line: Line) -> Trajectory:
    if not line.data:
        raise DataError(f"it has {line.size:,} bytes; lines of more than {LONGEST:,} are not read")
    return Trajectory.from_json(_without_tokens(line.data))


def _without_tokens(line: bytes) -> bytes:
    """Most of a line may be token numbers, which no table needs. In a text, the quotes of the name would be escaped."""
    for name in (b'"tokens":[', b'"logprobs":['):
        first, *rest = line.split(name)
        line = name.join((first, *map(_without_numbers, rest)))
    return line


def _without_numbers(rest: bytes) -> bytes:
    """The rest of a line after the bracket that opens a list. A list of anything but numbers stays."""
    numbers, closing, after = rest.partition(b"]")
    return rest if any(sign in numbers for sign in (b"[", b"{", b'"')) else closing + after


def _finished(file: BinaryIO, done: Progress) -> Iterator[Line]:
    """The complete lines of the next batch."""
    file.seek(done.bytes)
    row, at = done.lines, done.bytes
    while at - done.bytes < _BATCH:
        data = file.readline(LONGEST)
        size = len(data)
        while data and not data.endswith(b"\n"):
            if size < LONGEST:
                return  # still being written
            data = file.readline(LONGEST)
            size += len(data)
        if not data:
            return
        row += 1
        yield Line(row, at, size, data if size == len(data) else b"")
        at += size


def _progress(tables: sqlite3.Connection, file: BinaryIO) -> Progress | None:
    """None if there is no index yet, or the file was replaced."""
    try:
        kept = tables.execute("SELECT * FROM progress").fetchone()
    except sqlite3.OperationalError:
        return None
    size = file.seek(0, 2)
    if kept is None or kept["version"] != VERSION or size < kept["bytes"]:
        return None
    end = kept["bytes"]
    if (kept["head"], kept["tail"]) != (_digest(file, 0, end), _digest(file, max(0, end - _EDGE), end)):
        return None
    return Progress(kept["lines"], end, size)


def _emptied(tables: sqlite3.Connection, file: BinaryIO) -> Progress:
    for name in ("lines", "words", "marks", "bad", "progress", "healed"):
        tables.execute(f"DROP TABLE IF EXISTS {name}")
    for statement in filter(None, map(str.strip, _TABLES.split(";"))):
        tables.execute(statement)
    return Progress(of=file.seek(0, 2))


def _note(tables: sqlite3.Connection, file: BinaryIO, progress: Progress) -> None:
    end = progress.bytes
    edges = _digest(file, 0, end), _digest(file, max(0, end - _EDGE), end)
    tables.execute("DELETE FROM progress")
    tables.execute("INSERT INTO progress VALUES (?, ?, ?, ?, ?)", (VERSION, progress.lines, end, *edges))


def _digest(file: BinaryIO, start: int, end: int) -> str:
    file.seek(start)
    return blake2b(file.read(min(_EDGE, end - start)), digest_size=8).hexdigest()
