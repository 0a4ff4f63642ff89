"""Indexes of a whole data set in one memory-mapped file, opened in milliseconds and shared by many processes.

Header (magic, layout, users, where the table is, its checksum), one block a user, and a table of digests in order
with each block's place. A term is known by a 64-bit hash, searched by bisection: nothing is loaded but what is asked.
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
from zlib import crc32

import numpy as np

from ...errors import DataError
from .postings import Postings

FILE = "bm25.store"
_MAGIC = b"profilegym bm25\n"
_LAYOUT = 1  # raise it when the layout or the analyzer changes
_HEADER = struct.Struct("<16sIQQI")
_PLACE = struct.Struct("<16sQII")  # digest, offset, size, checksum
_BLOCK = struct.Struct("<IIIIQ")  # documents, terms, postings, bytes a count, terms in all documents


class StoreWriter:
    """Takes blocks one by one; the file appears under its name only once it is whole."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._part = folder / FILE, folder / f"{FILE}.part"  # what a killed run left is overwritten
        self._places: dict[bytes, tuple[int, int, int]] = {}

    def __enter__(self) -> Self:
        self._file = self._part.open("wb")
        self._file.write(bytes(_HEADER.size))
        return self

    def add(self, digest: bytes, block: bytes) -> None:
        if digest not in self._places:
            self._places[digest] = (self._file.tell(), len(block), crc32(block))
            self._file.write(block)

    def __len__(self) -> int:
        return len(self._places)

    def __exit__(self, error: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        with self._file as file:
            if error is None:
                self._finish(file)
        if error is None:
            os.replace(self._part, self._path)
        else:
            self._part.unlink()

    def _finish(self, file: Any) -> None:
        table = b"".join(_PLACE.pack(digest, *place) for digest, place in sorted(self._places.items()))
        where = file.tell()
        file.write(table)
        file.seek(0)
        file.write(_HEADER.pack(_MAGIC, _LAYOUT, len(self._places), where, crc32(table)))
        file.flush()
        os.fsync(file.fileno())


class Store:
    """Finds a profile's postings by its digest."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        if not self._path.is_file():
            raise DataError(f"there is no {self._path}: make it with `profilegym index SPEC --out {folder}`")
        with self._path.open("rb") as file:
            if self._path.stat().st_size < _HEADER.size:
                raise self._broken("it ends before its header does")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._size, self._table = self._read_header()

    def __reduce__(self) -> "tuple[type[Store], tuple[Path]]":
        """Another process opens the file anew."""
        return Store, (self._path.parent,)

    def __len__(self) -> int:
        return self._size

    def find(self, digest: bytes) -> Postings | None:
        position = bisect_left(range(self._size), digest, key=lambda row: self._place(row)[0])
        if position == self._size or self._place(position)[0] != digest:
            return None
        _, offset, size, checksum = self._place(position)
        block = memoryview(self._map)[offset : offset + size]
        if crc32(block) != checksum:
            raise self._broken(f"the block at byte {offset} is not what was written")
        return decode(block)

    def _place(self, row: int) -> tuple[bytes, int, int, int]:
        place: tuple[bytes, int, int, int] = _PLACE.unpack_from(self._map, self._table + row * _PLACE.size)
        return place

    def _read_header(self) -> tuple[int, int]:
        magic, layout, users, where, checksum = _HEADER.unpack_from(self._map)
        if magic != _MAGIC:
            raise self._broken(f"it starts with {magic!r}")
        if layout != _LAYOUT:
            raise self._broken(f"its layout is {layout}, this version reads {_LAYOUT}")
        table = memoryview(self._map)[where:]
        if len(table) != users * _PLACE.size or crc32(table) != checksum:
            raise self._broken("its table of users is damaged")
        return users, where

    def _broken(self, why: str) -> DataError:
        return DataError(f"{self._path} is no store that can be used: {why}; make it anew with `profilegym index`")


def encode(postings: Postings) -> bytes:
    """One user's block: its arrays from multiple of 8 to multiple of 8, the terms in the order of their hashes."""
    terms = postings.terms
    assert isinstance(terms, dict), "only what was just built can be encoded"
    hashes = np.fromiter(map(term_hash, terms), np.uint64, len(terms))
    order = hashes.argsort()
    starts = np.array(postings.starts, np.int64)
    sizes = np.diff(starts)[order]
    # The old place of each posting in its new place.
    moved = np.repeat(starts[:-1][order] - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())
    counts = postings.counts[moved]
    shape = (len(postings.order), len(hashes), len(counts), counts.itemsize, postings.total)
    arrays = (
        hashes[order],
        counts,
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.min_scalar_type(len(counts))),
        postings.documents[moved],
        postings.order,
        postings.lengths,
    )
    return b"".join([_BLOCK.pack(*shape), *(values.tobytes() + bytes(-values.nbytes % 8) for values in arrays)])


def decode(block: memoryview) -> Postings:
    """Views into the block; nothing is copied."""
    documents, terms, postings, bytes_a_count, total = _BLOCK.unpack_from(block)
    count = np.uint8 if bytes_a_count == 1 else np.float32
    number = np.min_scalar_type(documents)
    offset = _BLOCK.size

    def take(dtype: Any, length: int) -> Any:
        nonlocal offset
        values = np.frombuffer(block, dtype, length, offset)
        offset += values.nbytes + -values.nbytes % 8
        return values

    hashes, counts = take(np.uint64, terms), take(count, postings)
    starts, numbers = take(np.min_scalar_type(postings), terms + 1), take(number, postings)
    order, lengths = take(number, documents), take(np.uint8, documents)
    return Postings(_HashedTerms(memoryview(hashes)), memoryview(starts), numbers, counts, lengths, order, total)


@dataclass(frozen=True, slots=True)
class _HashedTerms:
    hashes: memoryview

    def get(self, term: str, /) -> int | None:
        wanted = term_hash(term)
        number = bisect_left(self.hashes, wanted)
        return number if number < len(self.hashes) and self.hashes[number] == wanted else None


@lru_cache(maxsize=1_000_000)
def term_hash(term: str) -> int:
    """The same in every process and on every machine."""
    return int.from_bytes(blake2b(term.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
