"""A cache of embeddings on disk."""

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

_BATCH_SIZE = 500  # older builds of SQLite allow 999 parameters per statement
_LOCK_TIMEOUT = 60.0  # seconds to wait for a write of another process


def default_folder() -> Path:
    """`profilegym/embeddings` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "profilegym" / "embeddings"


class EmbeddingCache:
    """One SQLite file per model. Each use opens it, so threads, forks and other processes may share it."""

    def __init__(self, folder: Path, model: str, fingerprint: str) -> None:
        self.path = folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', model)}-{fingerprint}.sqlite"
        folder.mkdir(parents=True, exist_ok=True)
        with self._open() as database:
            database.execute("CREATE TABLE IF NOT EXISTS embedding (text BLOB PRIMARY KEY, vector BLOB NOT NULL)")

    def read(self, texts: Sequence[str]) -> dict[str, Vectors]:
        """The cached vectors by text."""
        by_key = {_key(text): text for text in texts}
        keys = list(by_key)
        found: dict[str, Vectors] = {}
        with self._open() as database:
            for start in range(0, len(keys), _BATCH_SIZE):
                batch = keys[start : start + _BATCH_SIZE]
                marks = ",".join("?" * len(batch))
                rows = database.execute(f"SELECT text, vector FROM embedding WHERE text IN ({marks})", batch)  # noqa: S608 (only question marks)
                found.update((by_key[key], np.frombuffer(vector, np.float32)) for key, vector in rows)
        return found

    def write(self, vectors: Mapping[str, Vectors]) -> None:
        rows = [(_key(text), vector.tobytes()) for text, vector in vectors.items()]
        with self._open() as database:
            database.executemany("INSERT OR IGNORE INTO embedding VALUES (?, ?)", rows)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=_LOCK_TIMEOUT)) as database, database:
                yield database
        except sqlite3.Error as error:
            raise RetrievalError(
                f"the embedding cache {str(self.path)!r} is not usable: {error}; "
                "delete the file to embed again, or give another folder with cache=DIR"
            ) from error


def _key(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
