"""A Gymnasium space of Unicode text, in plain and in shared memory."""

import ctypes
from collections.abc import Iterable, Sequence
from typing import Any, overload

import numpy as np
from gymnasium import Space
from gymnasium.vector.utils import create_shared_memory, read_from_shared_memory, write_to_shared_memory

# Letters of several scripts, digits, signs, line breaks and the characters that tags are made of.
_ALPHABET = "abcdefghijklmnopqrstuvwxyzÄßéñøабвгдעבג東京日本语한국🙂0123456789 \n\t.,;:!?'\"()[]{}<>/=&_-"
_BYTES_A_CHARACTER = 4  # at most, in UTF-8
_LENGTH_BYTES = 4


class UnicodeText(Space[str]):
    """Any string of up to `max_length` characters. (Gymnasium's own `Text` holds a fixed alphabet only.)"""

    def __init__(self, max_length: int, seed: int | np.random.Generator | None = None) -> None:
        self.max_length = max_length
        super().__init__(None, None, seed)

    @property
    def is_np_flattenable(self) -> bool:
        return False

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """Some text of up to 64 characters; what a policy of no sense at all might write."""
        if mask is not None or probability is not None:
            raise ValueError("a space of text takes neither a mask nor probabilities")
        length = self.np_random.integers(0, min(64, self.max_length) + 1)
        return "".join(_ALPHABET[i] for i in self.np_random.integers(0, len(_ALPHABET), length))

    def contains(self, x: Any) -> bool:
        return isinstance(x, str) and len(x) <= self.max_length

    def to_jsonable(self, sample_n: Iterable[str]) -> list[str]:
        return list(sample_n)

    def from_jsonable(self, sample_n: list[str]) -> list[str]:
        return list(sample_n)

    def __repr__(self) -> str:
        return f"UnicodeText({self.max_length})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnicodeText) and self.max_length == other.max_length

    def __hash__(self) -> int:
        return hash((UnicodeText, self.max_length))


@create_shared_memory.register
def _create(space: UnicodeText, n: int = 1, ctx: Any = None) -> Any:
    return ctx.RawArray(ctypes.c_ubyte, n * _slot(space))


@write_to_shared_memory.register
def _write(space: UnicodeText, index: int, value: str, shared_memory: Any) -> None:
    if len(value) > space.max_length:
        raise ValueError(f"a text of {len(value)} characters does not fit a space of {space.max_length}")
    data = value.encode("utf-8", "surrogatepass")
    start = index * _slot(space)
    view = memoryview(shared_memory).cast("B")
    view[start : start + _LENGTH_BYTES] = len(data).to_bytes(_LENGTH_BYTES, "little")
    view[start + _LENGTH_BYTES : start + _LENGTH_BYTES + len(data)] = data


@read_from_shared_memory.register
def _read(space: UnicodeText, shared_memory: Any, n: int = 1) -> Any:
    return SharedTexts(memoryview(shared_memory).cast("B"), [index * _slot(space) for index in range(n)])


class SharedTexts(Sequence[str]):
    """The texts that the memory holds now: Gymnasium reads once, and then hands out a deep copy at every step."""

    def __init__(self, memory: memoryview, starts: Sequence[int]) -> None:
        self._memory, self._starts = memory, starts

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(map(self._text, self._starts[index]))
        return self._text(self._starts[index])

    def __deepcopy__(self, _: Any) -> tuple[str, ...]:
        return tuple(self)

    def _text(self, start: int) -> str:
        text = start + _LENGTH_BYTES
        length = int.from_bytes(self._memory[start:text], "little")
        return str(self._memory[text : text + length], "utf-8", "surrogatepass")


def _slot(space: UnicodeText) -> int:
    return _LENGTH_BYTES + _BYTES_A_CHARACTER * space.max_length
