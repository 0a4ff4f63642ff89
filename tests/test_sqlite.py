"""Files of SQLite that several threads and processes open at once."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import monotonic

import pytest

from profilegym._util.sqlite import write_ahead
from profilegym.apps.view.entry import Entry
from profilegym.apps.view.index import Index
from profilegym.envs.trajectory import Trajectory
from profilegym.rewards.cache import Cache


def no_entry(trajectory: Trajectory) -> Entry:
    raise AssertionError(f"the file has no lines, but {trajectory.id} was read")


def cached(folder: Path) -> Path:
    Cache(folder / "judge.sqlite").store(b"key", "text")
    return folder / "judge.sqlite"


def indexed(folder: Path) -> Path:
    (folder / "trajectories.jsonl").touch()
    index = Index(folder / "trajectories.jsonl", no_entry)
    index.refresh()
    return index.path


@pytest.mark.parametrize("use", [cached, indexed])
def test_a_new_file_that_another_opens_too_is_waited_for(tmp_path: Path, use: Callable[[Path], Path]) -> None:
    (tmp_path / "first").mkdir()
    path = tmp_path / use(tmp_path / "first").name
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.2, other.execute, ["COMMIT"])
        timer.start()

        used = use(tmp_path)

        timer.join()
        assert used == path
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_wait_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as other, closing(sqlite3.connect(path)) as connection:
        other.execute("BEGIN IMMEDIATE")
        start = monotonic()

        with pytest.raises(sqlite3.OperationalError, match="locked"):
            write_ahead(connection, 0.1)

        assert monotonic() - start >= 0.1
