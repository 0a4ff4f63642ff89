"""Writes files and folders in one move."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import TextIO


def write_whole(path: Path, content: str | bytes) -> None:
    """Replaces the file in one move: nobody reads half of it, and a killed process leaves the old one."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
    unfinished.replace(path)


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """A file to write, which then takes the place of `path` in one move; after an error `path` is as it was.

    What is no file, such as a pipe, is written itself; of a link, what it leads to.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        with path.open("w", encoding="utf-8") as file:
            yield file
        return
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to write, which then takes the place of `path` in one move: a killed process leaves no half of it."""
    unfinished = path.with_name(f".{path.name}")
    rmtree(unfinished, ignore_errors=True)
    yield unfinished
    rmtree(path, ignore_errors=True)
    unfinished.replace(path)
