"""Arguments of a tool from the JSON schema that its server gives."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from typing import Any

from ...errors import MissingExtra, ToolError
from ..text import clean, well_formed
from .arguments import MOST_DIGITS, WRONG, ArgumentType
from .tool import Argument

_NAME = re.compile(r"\w[\w.-]{0,63}")
_NULL = {"type": "null"}
_MOST_NODES = 10_000  # of a schema without references
_DYNAMIC = ("$dynamicRef", "$recursiveRef")
_BY_PATTERN = ("patternProperties", "additionalProperties", "unevaluatedProperties")
_MATCH_SECONDS = 0.1
_NOTES = ("title", "description", "default", "examples")  # what limits no value
_PLAIN = {"string": "a string", "integer": "a whole number", "number": "a number", "boolean": "true or false"}


def arguments_of(tool: str, schema: object) -> tuple[Argument, ...]:
    """An argument for each property of the schema. Raises `ToolError` for a schema that cannot be used."""
    given: Any = schema
    match given:
        case {"type": "object"}:
            properties, required = given.get("properties", {}), given.get("required", [])
        case _:
            raise ToolError(f"the schema of the tool {tool} must have the type 'object': {given!r:.200}")
    if not isinstance(properties, Mapping) or not isinstance(required, list):
        raise ToolError(f"the schema of the tool {tool} is no JSON schema: {given!r:.200}")
    definitions = {**given.get("definitions", {}), **given.get("$defs", {})}
    try:
        inliner = _Inliner(definitions)
        return tuple(_argument(name, inliner.inlined(one), name in required) for name, one in properties.items())
    except ToolError as error:
        raise ToolError(f"the tool {tool}: {error}") from error


def _argument(name: str, schema: Any, required: bool) -> Argument:
    if not _NAME.fullmatch(name):
        raise ToolError(f"the argument {name!r} needs a name of letters, digits, '_', '-' and '.'")
    if not isinstance(schema, Mapping):
        schema = {}
    if not required:  # null already stands for no value
        schema = _without_null(schema)
    default = None if required else schema.get("default")
    limits = {key: value for key, value in schema.items() if key not in ("description", "default")}
    described = clean(str(schema.get("description", "")))
    return Argument(name, ArgumentType(limits, _expects(limits), _reader(limits), described), required, default, None)


def _reader(schema: Mapping[str, Any]) -> Callable[[object], Any]:
    is_valid = _validator(schema)

    def read(value: object) -> Any:
        try:
            safe = _safe(value)
            return safe if safe is not WRONG and is_valid(safe) else WRONG
        except (RecursionError, TimeoutError):  # nested too deeply, or too slow to match with a pattern
            return WRONG

    return read


def _validator(schema: Mapping[str, Any]) -> Callable[[object], bool]:
    try:
        import regex  # has a time limit
        from jsonschema import Draft202012Validator as Draft
        from jsonschema import SchemaError, ValidationError, validators
    except ImportError as error:
        raise MissingExtra("a tool of a server", "mcp") from error
    try:
        Draft.check_schema(schema)
    except SchemaError as error:
        raise ToolError(f"{schema!r:.200} is no JSON schema: {error.message}") from error

    def pattern(_: object, expression: str, value: object, __: object) -> Iterator[ValidationError]:
        if isinstance(value, str) and not regex.search(expression, value, timeout=_MATCH_SECONDS):
            yield ValidationError(f"{value!r} does not match {expression!r}")

    # 1e308 is a whole number to JSON schema, but to few programs.
    types = Draft.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    exact = validators.extend(Draft, {"pattern": pattern}, type_checker=types)
    is_valid: Callable[[object], bool] = exact(schema, format_checker=Draft.FORMAT_CHECKER).is_valid
    return is_valid


def _safe(value: object) -> Any:
    """The value in a form that every JSON parser reads alike, or `WRONG`."""
    match value:
        case None | bool():
            return value
        case str():
            return well_formed(value)
        case int():
            return value if -MOST_DIGITS < value < MOST_DIGITS else WRONG
        case float():
            exact = value.is_integer() and abs(value) < MOST_DIGITS
            return (int(value) if exact else value) if isfinite(value) else WRONG
        case list():
            values = list(map(_safe, value))
            return WRONG if any(one is WRONG for one in values) else values
        case dict():
            named = {well_formed(str(name)): _safe(one) for name, one in value.items()}
            return WRONG if any(one is WRONG for one in named.values()) else named
    return WRONG


class _Inliner:
    """Replaces references, so that a property can be read alone. Keys by pattern are left to the server."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions, self._left = definitions, _MOST_NODES

    def inlined(self, schema: Any, inside: tuple[str, ...] = ()) -> Any:
        self._left -= 1
        if self._left < 0:
            raise ToolError(f"its schema has more than {_MOST_NODES:,} parts, with those that it refers to")
        match schema:
            case {"$ref": str(reference), **others}:
                name = reference.rpartition("/")[2]
                known = reference.startswith(("#/$defs/", "#/definitions/")) and name in self._definitions
                if not known or name in inside:
                    raise ToolError(f"the reference {reference!r} is unknown or refers to itself")
                return {**self.inlined(self._definitions[name], (*inside, name)), **self.inlined(others, inside)}
            case Mapping():
                self._check(schema)
                left_out = ("$id", *(_BY_PATTERN if "patternProperties" in schema else ()))
                return {key: self.inlined(value, inside) for key, value in schema.items() if key not in left_out}
            case list():
                return [self.inlined(value, inside) for value in schema]
        return schema

    def _check(self, schema: Mapping[str, Any]) -> None:
        if dynamic := [key for key in _DYNAMIC if isinstance(schema.get(key), str)]:
            raise ToolError(f"{dynamic[0]} is not supported: refer to '#/$defs/NAME' by $ref")
        if isinstance(schema.get("pattern"), str):
            _compiled(schema["pattern"])


def _compiled(expression: str) -> None:
    try:
        import regex
    except ImportError as error:
        raise MissingExtra("a tool of a server", "mcp") from error
    try:
        regex.compile(expression)
    except regex.error as error:
        raise ToolError(f"the pattern {expression!r} cannot be read: {error}") from error


def _without_null(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    match schema:
        case {"anyOf": [*options], **others} if _NULL in options:
            left = [one for one in options if one != _NULL]
            return {**others, **left[0]} if len(left) == 1 else {**others, "anyOf": left}
        case {"type": [*kinds], **others} if "null" in kinds:
            left = [kind for kind in kinds if kind != "null"]
            return {**others, "type": left[0] if len(left) == 1 else left}
    return schema


def _expects(schema: Mapping[str, Any]) -> str:
    """What a value must be, in words where there are some."""
    limits = {key: value for key, value in schema.items() if key not in _NOTES}
    match limits:
        case {"enum": [*choices]}:
            return clean(f"one of {', '.join(map(json.dumps, choices))}")
        case {"type": "string", "format": "date"} if len(limits) == 2:
            return 'a date such as "2024-03-05"'
        case {"type": "integer", "minimum": lowest, "maximum": highest} if len(limits) == 3:
            return clean(f"a whole number from {lowest} to {highest}")
        case {"type": str(kind)} if len(limits) == 1 and kind in _PLAIN:
            return _PLAIN[kind]
    return clean(f"a value of the JSON schema {json.dumps(limits)}")
