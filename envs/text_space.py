"""A Gymnasium space of Unicode text."""

from typing import Any

import numpy as np
from gymnasium import Space
from gymnasium.vector.utils import create_shared_memory, read_from_shared_memory, write_to_shared_memory

# Letters of several scripts, digits, signs, line breaks and the characters that tags are made of.
_ALPHABET = "abcdefghijklmnopqrstuvwxyzÄßéñøабвгдעבג東京日本语한국🙂0123456789 \n\t.,;:!?'\"()[]{}<>/=&_-"


class UnicodeText(Space[str]):
    """Strings of up to `max_length` characters. (Gymnasium's `Text` has a fixed alphabet.)"""

    def __init__(self, max_length: int, seed: int | np.random.Generator | None = None) -> None:
        self.max_length = max_length
        super().__init__(None, None, seed)

    @property
    def is_np_flattenable(self) -> bool:
        return False

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """A random text of up to 64 characters."""
        if mask is not None or probability is not None:
            raise ValueError("UnicodeText.sample takes neither a mask nor probabilities")
        length = self.np_random.integers(0, min(64, self.max_length) + 1)
        return "".join(_ALPHABET[i] for i in self.np_random.integers(0, len(_ALPHABET), length))

    def contains(self, x: Any) -> bool:
        return isinstance(x, str) and len(x) <= self.max_length

    def __repr__(self) -> str:
        return f"UnicodeText({self.max_length})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnicodeText) and self.max_length == other.max_length

    def __hash__(self) -> int:
        return hash((UnicodeText, self.max_length))


# Gymnasium's AsyncVectorEnv uses shared memory by default, and refuses a space that does not register these functions.
class _SharedTexts(np.ndarray[Any, Any]):
    """The current texts in shared memory. NumPy drops NULs at the end of a text, but observations have none."""

    def __deepcopy__(self, _: Any) -> Any:
        return tuple(self.tolist())


@create_shared_memory.register
def _create(space: UnicodeText, n: int = 1, ctx: Any = None) -> Any:
    return ctx.RawArray("I", n * space.max_length)  # one code point each


@write_to_shared_memory.register
def _write(space: UnicodeText, index: int, value: str, shared_memory: Any) -> None:
    if value not in space:
        raise ValueError(f"a text of {len(value)} characters does not fit a space of {space.max_length}")
    _read(space, shared_memory)[index] = value


@read_from_shared_memory.register
def _read(space: UnicodeText, shared_memory: Any, n: int = 1) -> Any:
    return np.frombuffer(shared_memory, f"<U{space.max_length}").view(_SharedTexts)
