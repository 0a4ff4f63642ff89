"""A store in a folder: the users of a data set in shards, each a file of its own, and a manifest that says how many.

A user's id gives the number of the shard, so that one shard is opened for a search, and only once it is needed.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

from ...errors import DataError
from ..question import Profile
from .postings import Postings
from .store import LAYOUT, PART, Store

MANIFEST = "store.json"
PER_SHARD = 1000  # questions, as long as that gives no more than MOST_SHARDS
MOST_SHARDS = 256  # each is an open file


class AnyStore(Protocol):
    """A file or a folder of stored indexes."""

    def find(self, profile: Profile) -> Postings | None:
        """The profile's postings; None where the store has not this profile with this content."""
        ...


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a folder holds once all its shards are there."""

    data: str
    questions: int
    shards: int
    layout: int = LAYOUT

    @classmethod
    def of(cls, data: str, questions: int) -> "Manifest":
        return cls(data, questions, max(1, min(MOST_SHARDS, questions // PER_SHARD)))

    def missing(self, folder: Path) -> Sequence[int]:
        """The numbers of the shards that are not in the folder."""
        there = set(os.listdir(folder))
        return [number for number in range(self.shards) if shard_path(folder, number).name not in there]

    def command(self, folder: Path) -> str:
        """Builds the shards that are missing."""
        return f"profilegym index {self.data} --out {folder}"


class ShardedStore:
    """Finds a profile's postings in the shard of its user."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._manifest = folder, read_manifest(folder)
        self._shards: dict[int, Store] = {}
        if missing := self._manifest.missing(folder):
            raise self._missing(missing)

    def __reduce__(self) -> "tuple[type[ShardedStore], tuple[Path]]":
        """Unpickling opens the files again."""
        return ShardedStore, (self._folder,)

    def find(self, profile: Profile) -> Postings | None:
        number = shard_of(profile.user_id, self._manifest.shards)
        shard = self._shards.get(number)
        if shard is None:  # two threads may open the same shard
            shard = self._shards[number] = self._open(number)
        return shard.find(profile)

    def _open(self, number: int) -> Store:
        try:
            return Store(shard_path(self._folder, number), self._manifest.command(self._folder))
        except FileNotFoundError:
            raise self._missing([number]) from None

    def _missing(self, numbers: Sequence[int]) -> DataError:
        return DataError(
            f"{self._folder} lacks {len(numbers)} of its {self._manifest.shards} shards, such as "
            f"{shard_path(self._folder, numbers[0])}; `{self._manifest.command(self._folder)}` builds what is missing"
        )


def open_store(path: Path) -> AnyStore:
    """The store in a folder or in one file."""
    return Store(path) if path.is_file() else ShardedStore(path)


def shard_of(user_id: str, shards: int) -> int:
    """The number of a user's shard, the same in every process and on every machine."""
    hashed = blake2b(user_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(hashed, "little") % shards


def shard_path(folder: Path, number: int) -> Path:
    return folder / f"{number:03d}.bm25"


def read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise DataError(f"no store {folder}: create it with `profilegym index SPEC --out {folder}`") from None
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}): remove {folder}, and create it again") from error
    match found:
        case {"data": str(data), "questions": int(questions), "shards": int(shards), "layout": int(layout)}:
            if layout == LAYOUT:
                return Manifest(data, questions, shards)
            raise DataError(
                f"{folder} has layout {layout}, and this version reads {LAYOUT}: remove it, and index again"
            )
    raise DataError(f"{path} is damaged: it holds {found!r}; remove {folder}, and create it again")


@contextmanager
def building(folder: Path, wanted: Manifest) -> Iterator[None]:
    """Prepares a folder for its shards, or one that a killed build left; one process builds at a time."""
    if folder.is_file():
        raise DataError(f"{folder} is a file: --out names the folder of the store")
    folder.mkdir(parents=True, exist_ok=True)
    held = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"another process is building {folder}: wait for it, or name another --out") from None
        _begin(folder, wanted)
        yield
    finally:
        os.close(held)


def _begin(folder: Path, wanted: Manifest) -> None:
    for left in folder.glob(f"*{PART}"):
        left.unlink(missing_ok=True)
    path = folder / MANIFEST
    if not path.exists():
        part = folder / f"{MANIFEST}{PART}"
        part.write_text(json.dumps(asdict(wanted)), "utf-8")
        os.replace(part, path)
    elif (found := read_manifest(folder)) != wanted:
        raise DataError(
            f"{folder} is a store of {found.data} with {found.questions:,} questions, not of {wanted.data} with "
            f"{wanted.questions:,}: give another --out, or remove it"
        )
