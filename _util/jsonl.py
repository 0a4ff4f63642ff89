"""Files of one JSON object a line that outlast a killed run."""

import json
import os
from types import TracebackType
from typing import Self


class LineWriter:
    """Appends lines of JSON, each in a single write, so that a killed run keeps every finished one."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = open(path, "ab+", buffering=0)  # noqa: SIM115 (open for the writer's life)
        self._end_the_last_line()

    def append(self, line: str) -> None:
        """A line without its line break."""
        try:
            data = memoryview(f"{line}\n".encode())
        except UnicodeEncodeError:  # a lone surrogate from the policy: valid as an escape only
            data = memoryview((json.dumps(json.loads(line)) + "\n").encode())
        while data:
            data = data[self._file.write(data) :]

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def _end_the_last_line(self) -> None:
        """A line that a killed run left half written must not swallow the next one."""
        if self._file.seek(0, os.SEEK_END):
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")
