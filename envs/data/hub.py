"""Rows of a data set on the Hugging Face hub, through its `datasets` library."""

import importlib
from collections.abc import Iterator
from difflib import get_close_matches

from ...errors import DataError, MissingExtra
from .records import Json


class HubRows:
    """The rows of one split; the library keeps them on disk."""

    def __init__(self, repository: str, config: str, split: str) -> None:
        self.label = f"{repository} ({config}, {split})"
        try:
            library = importlib.import_module("datasets")
        except ImportError as error:
            raise MissingExtra(f"reading {self.label} from the hub", "hub") from error
        try:
            self._rows = library.load_dataset(repository, config, split=split)
        except Exception as error:  # the library raises whatever its network, cache and file formats raise
            raise DataError(f"{self.label} could not be loaded from the hub: {error}") from error

    def scan(self) -> Iterator[Json]:
        return iter(self._rows)

    def read(self, position: int) -> Json:
        row: Json = self._rows[position]
        return row


def one_of(kind: str, name: str, known: list[str]) -> str:
    """The name, if it is known; otherwise an error with the nearest one that is."""
    if name not in known:
        near = get_close_matches(name, known, 1)
        meant = f"; did you mean {near[0]!r}?" if near else ";"
        raise DataError(f"no {kind} {name!r}{meant} known: {', '.join(known)}")
    return name
