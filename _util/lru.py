"""A small memory that forgets what was longest unused."""

from collections import OrderedDict
from threading import Lock
from typing import Generic, TypeVar

from ..errors import OptionError

K = TypeVar("K")
V = TypeVar("V")


class Lru(Generic[K, V]):
    """At most `size` values by key; safe between threads. A copy, pickled or not, begins empty."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise OptionError(f"a cache of {size} entries cannot hold the one in use: ask for at least 1")
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

    def __len__(self) -> int:
        return len(self._values)
