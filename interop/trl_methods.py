"""A tool as a method of TRL's environments, in the form that chat templates describe: types and a docstring."""

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from keyword import iskeyword
from typing import Any

from ..errors import OptionError

_TYPES = {"string": str, "integer": int, "number": float, "boolean": bool, "object": dict}


def method_of(function: Mapping[str, Any]) -> Callable[..., str]:
    """Calls the tool by `_call(name, arguments)` of the environment that has it."""
    name, schema = function["name"], function["parameters"]

    def method(self: Any, **arguments: Any) -> str:
        return str(self._call(name, arguments))

    types = {one: _type(about) for one, about in schema["properties"].items()}
    if odd := [one for one in types if not one.isidentifier() or iskeyword(one)]:
        raise OptionError(
            f"the tool {name} has an argument {odd[0]!r}, which TRL cannot offer, as it is no name in Python: rename it"
        )
    described = [f"    {one}: {about.get('description', one)}" for one, about in schema["properties"].items()]
    defaults = {one: Parameter.empty if one in schema.get("required", ()) else None for one in types}
    named = [Parameter(one, Parameter.KEYWORD_ONLY, annotation=types[one], default=defaults[one]) for one in types]
    method.__name__ = name
    method.__doc__ = "\n".join([function["description"], "", "Args:", *described])
    method.__annotations__ = {**types, "return": str}
    vars(method)["__signature__"] = Signature([Parameter("self", Parameter.POSITIONAL_ONLY), *named])
    return method


def _type(about: Mapping[str, Any]) -> Any:
    """The annotation of an argument with this schema."""
    if about.get("type") == "array":
        return list[_type(about.get("items") or {})]  # type: ignore[misc]
    return _TYPES.get(str(about.get("type")), str)
