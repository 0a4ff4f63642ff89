"""Vectors that were paid for once, on disk, by text."""

import os
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from hashlib import blake2b
from pathlib import Path

import numpy as np

from ...errors import RetrievalError
from .encoder import Vectors

_AT_ONCE = 500  # SQLite allows 999 parameters a statement in its older builds
_WAIT = 60.0  # seconds for another process to finish its write


def default_folder() -> Path:
    """`profilegym/embeddings` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "profilegym" / "embeddings"


class EmbeddingCache:
    """One SQLite file a model. It is opened for each use, so threads, forks and other processes may share it."""

    def __init__(self, folder: Path, model: str, fingerprint: str) -> None:
        self.path = folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', model)}-{fingerprint}.sqlite"
        folder.mkdir(parents=True, exist_ok=True)
        with self._open() as database:
            database.execute("CREATE TABLE IF NOT EXISTS embedding (text BLOB PRIMARY KEY, vector BLOB NOT NULL)")

    def read(self, texts: Sequence[str]) -> dict[str, Vectors]:
        """The vectors that are known, by text."""
        by_key = {_key(text): text for text in texts}
        keys = list(by_key)
        found: dict[str, Vectors] = {}
        with self._open() as database:
            for start in range(0, len(keys), _AT_ONCE):
                some = keys[start : start + _AT_ONCE]
                marks = ",".join("?" * len(some))
                rows = database.execute(f"SELECT text, vector FROM embedding WHERE text IN ({marks})", some)  # noqa: S608 (only question marks)
                found.update((by_key[key], np.frombuffer(vector, np.float32)) for key, vector in rows)
        return found

    def write(self, vectors: Mapping[str, Vectors]) -> None:
        rows = [(_key(text), vector.tobytes()) for text, vector in vectors.items()]
        with self._open() as database:
            database.executemany("INSERT OR IGNORE INTO embedding VALUES (?, ?)", rows)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=_WAIT)) as database, database:
                yield database
        except sqlite3.Error as error:
            raise RetrievalError(
                f"the embedding cache {str(self.path)!r} cannot be used: {error}; "
                "delete the file to embed anew, or name another folder with cache=DIR"
            ) from error


def _key(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
