"""SQLite files that several threads and processes use at once."""

import sqlite3
from time import monotonic, sleep

_PAUSE = 0.01  # seconds between two attempts


def write_ahead(connection: sqlite3.Connection, seconds: float) -> None:
    """Let others read while one writes. Waits up to so many seconds for others that do the same to a new file.

    SQLite itself does not wait here, whatever its timeout: it would turn a lock for reading into one for writing.
    """
    end = monotonic() + seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or monotonic() > end:
                raise
            sleep(_PAUSE)
        else:
            return
