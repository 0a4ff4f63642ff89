"""Writes files and folders in one move."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree


def write_whole(path: Path, content: str | bytes) -> None:
    """Replaces the file in one move: nobody reads half of it, and a killed process leaves the old one."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
    unfinished.replace(path)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to write, which then takes the place of `path` in one move: a killed process leaves no half of it."""
    unfinished = path.with_name(f".{path.name}")
    rmtree(unfinished, ignore_errors=True)
    yield unfinished
    rmtree(path, ignore_errors=True)
    unfinished.replace(path)
