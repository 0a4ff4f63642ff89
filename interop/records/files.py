"""The files of an import, and their lines."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...evaluation.imported import Unreadable


def listed(path: Path, *patterns: str) -> list[Path]:
    """The file itself, or the files of a folder whose names match, in the order of their names."""
    if not path.exists():
        raise DataError(f"there is no file {path}")
    if path.is_file():
        return [path]
    found = sorted(file for pattern in patterns for file in path.glob(pattern) if file.is_file())
    if not found:
        raise DataError(f"{path} has no file named {' or '.join(patterns)}")
    return found


def attempt(path: Path, file: Path, name: object) -> str:
    """The name of an attempt in one of the files of `path`: with its file's, as files of a folder may have the same."""
    return str(name) if path.is_file() else f"{file.stem}.{name}"


def json_lines(file: Path) -> Iterator[tuple[int, dict[str, Any] | Unreadable]]:
    """The number and the object of each line that is not empty. A line that is no object is returned as unreadable."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, _loaded(file, number, line)


ODD = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError)  # of an odd record


def problem_of(error: Exception) -> str:
    """What is wrong with a record, in words."""
    return str(error) if isinstance(error, DataError) else f"not a record of this form: {type(error).__name__}: {error}"


def _loaded(file: Path, number: int, line: bytes) -> dict[str, Any] | Unreadable:
    try:
        record = json.loads(line)
        if isinstance(record, dict):
            return record
        problem = f"found a {type(record).__name__}; expected an object"
    except (ValueError, RecursionError) as error:
        problem = f"not valid JSON: {error}"
    return Unreadable(str(file), f"line {number}", problem, line.decode("utf-8", "replace").rstrip("\n"))
