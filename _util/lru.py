"""A cache that drops the entry that was unused longest."""

from collections import OrderedDict
from threading import Lock
from typing import Generic, TypeVar

from ..errors import OptionError

K = TypeVar("K")
V = TypeVar("V")


class Lru(Generic[K, V]):
    """At most `size` entries. Thread-safe. Copies and unpickled instances start empty."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise OptionError(f"a cache needs at least 1 entry, not {size}")
        self._size = size
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = Lock()

    def __reduce__(self) -> tuple[type["Lru[K, V]"], tuple[int]]:
        return Lru, (self._size,)

    def get(self, key: K) -> V | None:
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key]

    def put(self, key: K, value: V) -> None:
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            if len(self._values) > self._size:
                self._values.popitem(last=False)

    def __contains__(self, key: K) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)
