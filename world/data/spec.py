"""Parses the specs of generated data: integer options, and splits of users."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches

from ..._util.registry import split_options
from ...envs.data.leaks import read_leaks
from ...errors import DataError, OptionError


@dataclass(frozen=True, slots=True)
class Options:
    """Options of every generated data set."""

    seed: int = 0
    users: int = 500

    def check(self, name: str) -> None:
        require(name, "seed", self.seed, self.seed >= 0, "0 or more")
        require(name, "users", self.users, self.users >= 1, "1 or more")


def read_spec(name: str, rest: str, options: type, splits: Collection[str]) -> tuple[dict[str, int], str]:
    """`seed=7,users=50/test` as the given values of the fields of `options`, and the split.

    `leaks=` is validated and ignored: generated data has no leaks.
    """
    settings, _, split = rest.partition("/")
    if split not in splits:
        known = ", ".join(filter(None, splits))
        raise DataError(f"{name} has no split {split!r}{_suggestion(split, splits)}; its splits: {known}")
    return _given(name, settings, [field.name for field in fields(options)]), split


@dataclass(frozen=True, slots=True)
class SplitUsers:
    """The numbers below `users` whose last digit is one of `digits`, which ascend. None is in memory."""

    users: int
    digits: Sequence[int]

    def __len__(self) -> int:
        tens, rest = divmod(self.users, 10)
        return tens * len(self.digits) + sum(digit < rest for digit in self.digits)

    def __getitem__(self, position: int) -> int:
        tens, digit = divmod(position, len(self.digits))
        return 10 * tens + self.digits[digit]

    def __contains__(self, user: int) -> bool:
        return 0 <= user < self.users and user % 10 in self.digits

    def __iter__(self) -> Iterator[int]:
        return map(self.__getitem__, range(len(self)))

    def position(self, user: int) -> int:
        return user // 10 * len(self.digits) + self.digits.index(user % 10)


def users_of_split(name: str, users: int, split: str, splits: Mapping[str, Sequence[int]]) -> SplitUsers:
    """The numbers of the users whose last digit belongs to the split."""
    chosen = SplitUsers(users, splits[split])
    if not chosen:
        raise OptionError(f"{name}: users={users} leaves split {split!r} empty; ask for {chosen.digits[0] + 1} or more")
    return chosen


def require(name: str, option: str, value: object, holds: bool, wanted: str) -> None:
    if not holds:
        raise OptionError(f"{name}: {option}={value} cannot be; it must be {wanted}")


def _given(name: str, settings: str, known: Sequence[str]) -> dict[str, int]:
    arguments, given = split_options(settings)
    if arguments:
        raise OptionError(f"{name}: {arguments!r} is not an option; write {', '.join(f'{key}=…' for key in known)}")
    whole: dict[str, int] = {}
    if "leaks" in given:
        read_leaks(given.pop("leaks"))
    for key, value in given.items():
        if key not in known:
            raise OptionError(
                f"{name} has no option {key!r}{_suggestion(key, known)}; its options: {', '.join(known)}, leaks"
            )
        if type(value) is not int:
            raise OptionError(f"{name}: {key}={value} cannot be; it must be a whole number")
        whole[key] = value
    return whole


def _suggestion(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, list(known), 1)
    return f" (did you mean {near[0]!r}?)" if near else ""
