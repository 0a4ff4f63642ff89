"""Parses the specs of generated data: integer options, and splits of users."""

from collections.abc import Collection, Mapping, Sequence
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


def users_of_split(name: str, users: int, split: str, splits: Mapping[str, Sequence[int]]) -> list[int]:
    """The numbers of the users whose last digit belongs to the split."""
    chosen = [user for user in range(users) if user % 10 in splits[split]]
    least = splits[split][0] + 1
    if not chosen:
        raise OptionError(f"{name}: users={users} leaves split {split!r} empty; ask for {least} or more")
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
