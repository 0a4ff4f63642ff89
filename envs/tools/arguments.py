"""Types of a tool's arguments: a JSON schema and a reader for each, from the annotations of a function."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from math import isfinite
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from ...errors import OptionError
from ..text import well_formed

MOST_DIGITS = 2**53  # larger whole numbers are not exact in JSON
WRONG = object()  # what a reader returns for a value of another type


@dataclass(frozen=True, slots=True)
class ArgumentType:
    """`read` checks a JSON value: it returns the value, or `WRONG`. `expects` says what the value must be.

    `convert` makes a checked value the Python object that the function takes, where that is another.
    """

    schema: Mapping[str, Any]
    expects: str
    read: Callable[[object], Any]
    description: str = ""
    convert: Callable[[Any], Any] | None = None


def argument_type(annotation: object) -> ArgumentType:
    """The type that an annotation names; a type without a JSON form is an `OptionError`.

    `Annotated[T, "text"]` describes an argument; `Annotated[int, range(1, 11)]` limits it.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _annotated(arguments[0], arguments[1:])
    if origin in (Union, UnionType):
        others = [one for one in arguments if one is not NoneType]
        if len(others) == 1:
            return argument_type(others[0])
    elif origin is Literal and all(isinstance(one, str) for one in arguments):
        return _choice(arguments)
    elif origin is list and len(arguments) == 1:
        return _list_of(argument_type(arguments[0]))
    elif annotation in _PLAIN:
        return _PLAIN[annotation]
    raise OptionError(
        f"{annotation!r} is no type of a tool's argument: give str, int, float, bool, datetime.date, Literal of texts, "
        "list[…] of one of these, or one of these | None"
    )


def is_optional(annotation: object) -> bool:
    """Whether null stands for no value."""
    if get_origin(annotation) is Annotated:
        return is_optional(get_args(annotation)[0])
    return get_origin(annotation) in (Union, UnionType) and NoneType in get_args(annotation)


def _annotated(annotation: object, notes: tuple[object, ...]) -> ArgumentType:
    found = argument_type(annotation)
    for note in notes:
        if isinstance(note, str):
            found = replace(found, description=note)
        elif isinstance(note, range) and found.read is _integer:
            found = replace(_limited(note), description=found.description)
    return found


def _text(value: object) -> Any:
    if type(value) is str and value.isascii():
        return value
    return well_formed(value) if isinstance(value, str) else WRONG


def _integer(value: object) -> Any:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and -MOST_DIGITS < value < MOST_DIGITS else WRONG


def _number(value: object) -> Any:
    if type(value) is int:
        value = float(value) if -MOST_DIGITS < value < MOST_DIGITS else None
    return value if isinstance(value, float) and isfinite(value) else WRONG


def _boolean(value: object) -> Any:
    return value if isinstance(value, bool) else WRONG


def _date(value: object) -> Any:
    try:
        return date.fromisoformat(value).isoformat() if isinstance(value, str) else WRONG
    except ValueError:
        return WRONG


def _choice(choices: tuple[str, ...]) -> ArgumentType:
    return ArgumentType(
        {"type": "string", "enum": list(choices)},
        f"one of {', '.join(map(repr, choices))}",
        lambda value: value if isinstance(value, str) and value in choices else WRONG,
    )


def _limited(limits: range) -> ArgumentType:
    lowest, highest = limits[0], limits[-1]

    def read(value: object) -> Any:
        number = _integer(value)
        return number if number is not WRONG and number in limits else WRONG

    schema = {"type": "integer", "minimum": lowest, "maximum": highest}
    return ArgumentType(schema, f"a whole number from {lowest} to {highest}", read)


def _list_of(element: ArgumentType) -> ArgumentType:
    def read(value: object) -> Any:
        if not isinstance(value, list):
            return WRONG
        values = list(map(element.read, value))
        return WRONG if WRONG in values else values

    schema = {"type": "array", "items": dict(element.schema)}
    one = element.convert
    convert = None if one is None else lambda values: list(map(one, values))
    return ArgumentType(schema, f"a list, each {element.expects}", read, convert=convert)


_PLAIN: dict[object, ArgumentType] = {
    str: ArgumentType({"type": "string"}, "a string", _text),
    int: ArgumentType({"type": "integer"}, "a whole number", _integer),
    float: ArgumentType({"type": "number"}, "a number", _number),
    bool: ArgumentType({"type": "boolean"}, "true or false", _boolean),
    date: ArgumentType(
        {"type": "string", "format": "date"}, 'a date such as "2024-03-05"', _date, convert=date.fromisoformat
    ),
}
