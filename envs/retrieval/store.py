"""BM25 indexes of many users in one memory-mapped file, which opens in milliseconds and which processes share.

The file has a header (magic, layout, number of users, offset and checksum of the table), one block per user, and a
table of the blocks, sorted by profile digest. Terms are 64-bit hashes, found by bisection, so that only what a search
needs is read.
"""

import mmap
import os
import struct
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4
from zlib import crc32

import numpy as np

from ...errors import DataError
from ..question import Profile
from .postings import Postings

LAYOUT = 1  # increase it when the layout or the analyzer changes
PART = ".part"  # ends the names of files that are being written
_MAGIC = b"profilegym bm25\n"
_HEADER = struct.Struct("<16sIQQI")
_ROW = struct.Struct("<16sQII")  # digest, offset, size, checksum
_BLOCK = struct.Struct("<IIIIQ")  # documents, terms, postings, bytes per count, terms in all documents


class StoreWriter:
    """Writes blocks one by one. The file gets its name only when it is complete."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A worker that is taken for dead may still write the same file.
        self._path, self._part = path, path.with_name(f"{path.name}.{uuid4().hex}{PART}")
        self._rows: dict[bytes, tuple[int, int, int]] = {}

    def __enter__(self) -> Self:
        self._file = self._part.open("wb")
        self._file.write(bytes(_HEADER.size))
        return self

    def add(self, digest: bytes, block: bytes) -> None:
        if digest not in self._rows:
            self._rows[digest] = (self._file.tell(), len(block), crc32(block))
            self._file.write(block)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def __exit__(self, error: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        with self._file as file:
            if error is None:
                self._finish(file)
        if error is None:
            os.replace(self._part, self._path)
        else:
            self._part.unlink()

    def _finish(self, file: Any) -> None:
        table = b"".join(_ROW.pack(digest, *row) for digest, row in sorted(self._rows.items()))
        table_offset = file.tell()
        file.write(table)
        file.seek(0)
        file.write(_HEADER.pack(_MAGIC, LAYOUT, len(self._rows), table_offset, crc32(table)))
        file.flush()
        os.fsync(file.fileno())


class Store:
    """Finds a profile's postings by its digest. `command` is what builds the file again."""

    def __init__(self, path: Path, command: str = "profilegym index") -> None:
        self._path, self._command = path, command
        with self._path.open("rb") as file:
            if self._path.stat().st_size < _HEADER.size:
                raise self._invalid("it is shorter than its header")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._size, self._table = self._read_header()

    def __reduce__(self) -> "tuple[type[Store], tuple[Path, str]]":
        """Unpickling opens the file again."""
        return Store, (self._path, self._command)

    def __len__(self) -> int:
        return self._size

    def find(self, profile: Profile) -> Postings | None:
        digest = profile.digest
        number = bisect_left(range(self._size), digest, key=lambda row: self._row(row)[0])
        if number == self._size or self._row(number)[0] != digest:
            return None
        _, offset, size, checksum = self._row(number)
        block = memoryview(self._map)[offset : offset + size]
        if crc32(block) != checksum:
            raise self._invalid(f"the block at byte {offset} has a wrong checksum")
        return decode(block)

    def _row(self, number: int) -> tuple[bytes, int, int, int]:
        row: tuple[bytes, int, int, int] = _ROW.unpack_from(self._map, self._table + number * _ROW.size)
        return row

    def _read_header(self) -> tuple[int, int]:
        magic, layout, users, offset, checksum = _HEADER.unpack_from(self._map)
        if magic != _MAGIC:
            raise self._invalid(f"it starts with {magic!r}")
        if layout != LAYOUT:
            raise self._invalid(f"it has layout {layout}, and this version reads layout {LAYOUT}")
        table = memoryview(self._map)[offset:]
        if len(table) != users * _ROW.size or crc32(table) != checksum:
            raise self._invalid("its table of users is damaged")
        return users, offset

    def _invalid(self, reason: str) -> DataError:
        return DataError(f"{self._path} is no valid store: {reason}; remove it and run `{self._command}`")


def encode(postings: Postings) -> bytes:
    """One user's block: arrays padded to multiples of 8 bytes, with the terms sorted by hash."""
    terms = postings.terms
    assert isinstance(terms, dict), "postings from a store cannot be encoded"
    hashes = np.fromiter(map(term_hash, terms), np.uint64, len(terms))
    order = hashes.argsort()
    starts = np.array(postings.starts, np.int64)
    sizes = np.diff(starts)[order]
    # The old position of each posting, by new position.
    old = np.repeat(starts[:-1][order] - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())
    counts = postings.counts[old]
    shape = (len(postings.order), len(hashes), len(counts), counts.itemsize, postings.total)
    arrays = (
        hashes[order],
        counts,
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.min_scalar_type(len(counts))),
        postings.documents[old],
        postings.order,
        postings.lengths,
    )
    return b"".join([_BLOCK.pack(*shape), *(values.tobytes() + bytes(-values.nbytes % 8) for values in arrays)])


def decode(block: memoryview) -> Postings:
    """Arrays that are views of the block."""
    documents, terms, postings, bytes_per_count, total = _BLOCK.unpack_from(block)
    count = np.uint8 if bytes_per_count == 1 else np.float32
    number = np.min_scalar_type(documents)
    offset = _BLOCK.size

    def read(dtype: Any, length: int) -> Any:
        nonlocal offset
        values = np.frombuffer(block, dtype, length, offset)
        offset += values.nbytes + -values.nbytes % 8
        return values

    hashes, counts = read(np.uint64, terms), read(count, postings)
    starts, numbers = read(np.min_scalar_type(postings), terms + 1), read(number, postings)
    order, lengths = read(number, documents), read(np.uint8, documents)
    return Postings(_HashedTerms(memoryview(hashes)), memoryview(starts), numbers, counts, lengths, order, total)


@dataclass(frozen=True, slots=True)
class _HashedTerms:
    hashes: memoryview

    def get(self, term: str, /) -> int | None:
        target = term_hash(term)
        number = bisect_left(self.hashes, target)
        return number if number < len(self.hashes) and self.hashes[number] == target else None


@lru_cache(maxsize=1_000_000)
def term_hash(term: str) -> int:
    """A hash that is the same in every process and on every machine."""
    return int.from_bytes(blake2b(term.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
