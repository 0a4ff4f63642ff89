"""Appends JSON lines to a file in a way that survives a killed run."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self


class LineWriter:
    """Appends each line in a single write, so that a killed run keeps every finished line.

    Several processes may append to one file: their lines do not mix.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = open(path, "ab+", buffering=0)  # noqa: SIM115 (closed by `close`)
        with self._alone():
            self._end_last_line()

    def append(self, line: str) -> None:
        """`line` has no line break."""
        try:
            data = memoryview(f"{line}\n".encode())
        except UnicodeEncodeError:  # a lone surrogate from the policy, which is valid only as an escape
            data = memoryview((json.dumps(json.loads(line)) + "\n").encode())
        with self._alone():
            while data:
                data = data[self._file.write(data) :]

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _end_last_line(self) -> None:
        """Adds the line break that a killed run may have left out, so that the next line is a line of its own."""
        if self._file.seek(0, os.SEEK_END):
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")
