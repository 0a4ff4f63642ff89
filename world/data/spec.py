"""What the specs of made-up people have in common: options that are whole numbers, and splits of users."""

from collections.abc import Collection, Sequence
from dataclasses import fields
from difflib import get_close_matches

from ..._util.registry import split_options
from ...envs.data.leaks import read_leaks
from ...errors import DataError, OptionError


def read_spec(name: str, rest: str, options: type, splits: Collection[str]) -> tuple[dict[str, int], str]:
    """`seed=7,users=50/test` as what was given for the fields of `options`, and the split.

    `leaks=` is checked, and changes nothing: what is made up holds no leaks.
    """
    settings, _, split = rest.partition("/")
    if split not in splits:
        known = ", ".join(filter(None, splits))
        raise DataError(f"{name} has no split {split!r}{_meant(split, splits)}; its splits: {known}")
    return _given(name, settings, [field.name for field in fields(options)]), split


def need(name: str, option: str, value: object, holds: bool, wanted: str) -> None:
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
                f"{name} has no option {key!r}{_meant(key, known)}; its options: {', '.join(known)}, leaks"
            )
        if type(value) is not int:
            raise OptionError(f"{name}: {key}={value} cannot be; it must be a whole number")
        whole[key] = value
    return whole


def _meant(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, list(known), 1)
    return f" (did you mean {near[0]!r}?)" if near else ""
