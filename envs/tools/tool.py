"""Tool: a typed Python function that a policy can call on the profile of its episode."""

import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, NamedTuple, get_type_hints

from ..._util.sync import awaiting_plug_in, on_background_loop, run_sync
from ...errors import BadArgument, OptionError, ToolError
from ..action import Malformed
from ..question import Document, Profile
from ..retrieval import Hit
from ..text import clean
from .arguments import WRONG, ArgumentType, argument_type, is_optional

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


class SearchRequest(NamedTuple):
    """A search with the run's retriever: `query`, at most `k` documents, and only those that `keep` accepts."""

    query: str
    k: int | None = None
    keep: Callable[[Document], bool] | None = None


Result = Sequence[Document | Hit] | str | SearchRequest


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument. With `needs`, it is offered only where the profile's documents have that field."""

    name: str
    type: ArgumentType
    required: bool
    default: Any
    needs: str | None

    @property
    def schema(self) -> dict[str, Any]:
        described = {"description": self.type.description} if self.type.description else {}
        default = {} if self.default is None else {"default": self.default}
        return {**self.type.schema, **described, **default}


@dataclass(frozen=True)
class Tool:
    """A name, a description, typed arguments, and the function that is called with the profile and the arguments.

    `runs_inline`: the function only reads the profile and takes no time worth a thread. `is_async`: it is a coroutine
    function; the background loop runs it.
    """

    name: str
    description: str
    arguments: tuple[Argument, ...]
    function: Callable[..., Any]
    runs_inline: bool = False
    is_async: bool = False
    by_name: Mapping[str, Argument] = field(init=False, repr=False, compare=False)
    readers: Mapping[str, Callable[[object], Any]] = field(init=False, repr=False, compare=False)
    required: tuple[str, ...] = field(init=False, repr=False, compare=False)
    converters: Mapping[str, Callable[[Any], Any]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {argument.name: argument for argument in self.arguments})
        object.__setattr__(self, "readers", {argument.name: argument.type.read for argument in self.arguments})
        converters = {one.name: one.type.convert for one in self.arguments if one.type.convert is not None}
        object.__setattr__(self, "converters", converters)
        object.__setattr__(self, "required", tuple(one.name for one in self.arguments if one.required))

    @classmethod
    def of(
        cls, function: Callable[..., Any], needs: Mapping[str, str] | None = None, runs_inline: bool = False
    ) -> "Tool":
        """From a function with type hints: the profile, then the arguments; its docstring is the description.

        `needs` names, by argument, the field of documents without which the argument is left out.
        """
        name, needs = getattr(function, "__name__", ""), needs or {}
        if not _NAME.fullmatch(name):
            raise OptionError(f"a tool needs a name of letters, digits and '_'; {function!r} has the name {name!r}")
        description = " ".join((inspect.getdoc(function) or "").split())
        if not description:
            raise OptionError(f"the tool {name} has no docstring: describe in one what it does")
        parameters = list(inspect.signature(function).parameters.values())
        if not parameters or parameters[0].kind not in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        ):
            raise OptionError(f"the tool {name} must take the profile as its first parameter")
        hints = get_type_hints(function, include_extras=True)
        arguments = tuple(_argument(name, one, hints, needs.get(one.name)) for one in parameters[1:])
        is_async = inspect.iscoroutinefunction(function)
        return cls(name, description, arguments, function, runs_inline and not is_async, is_async)

    @property
    def schema(self) -> dict[str, Any]:
        """The tool in the form that chat models take."""
        parameters = {
            "type": "object",
            "properties": {argument.name: argument.schema for argument in self.arguments},
            "required": list(self.required),
            "additionalProperties": False,
        }
        function = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}

    @property
    def signature(self) -> str:
        """`name(required, optional?)`."""
        return f"{self.name}({', '.join(one.name + '?' * (not one.required) for one in self.arguments)})"

    def fitted(self, facts: frozenset[str]) -> "Tool":
        """Without the arguments that need a field which the profile's documents lack."""
        offered = tuple(one for one in self.arguments if one.needs is None or one.needs in facts)
        if len(offered) == len(self.arguments):
            return self
        return replace(self, arguments=offered)

    def read(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call, checked against the schema; null stands for none given. Raises `BadArgument`."""
        values, readers, required = {}, self.readers, self.required
        for name, given in arguments.items():
            read = readers.get(name)
            if read is None:
                raise BadArgument(f"{self.signature} has no argument of that name.")
            if given is None and name not in required:
                continue
            value = read(given)
            if value is WRONG:
                raise BadArgument(f"{name!r} of {self.name} must be {self.by_name[name].type.expects}.")
            values[name] = value
        for name in required:
            if name not in values:
                missing = ", ".join(repr(one) for one in required if one not in values)
                raise BadArgument(f"{self.signature} needs {missing}.")
        return values

    def call(self, profile: Profile, arguments: Mapping[str, Any]) -> Result:
        """The function's result for checked arguments. Raises `BadArgument` where it refuses one."""
        found: Any = self.function(profile, **self._converted(arguments))
        result: Result = run_sync(found) if self.is_async else found
        return result

    def result(self, profile: Profile, arguments: Mapping[str, Any]) -> Result | Malformed:
        """As `call`; a refusal is the policy's mistake, and any other error is a `ToolError`."""
        try:
            if self.converters or self.is_async:
                return self.call(profile, arguments)
            result: Result = self.function(profile, **arguments)
            return result
        except Exception as error:
            return self._mistake(error)

    async def result_async(self, profile: Profile, arguments: Mapping[str, Any]) -> Result | Malformed:
        """As `result`, for a coroutine function."""
        try:
            with awaiting_plug_in():
                result: Result = await on_background_loop(self.function(profile, **self._converted(arguments)))
            return result
        except Exception as error:
            return self._mistake(error)

    def _converted(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self.converters:
            return arguments
        converted = {name: self.converters[name](arguments[name]) for name in self.converters if name in arguments}
        return {**arguments, **converted}

    def _mistake(self, error: Exception) -> Malformed:
        """The policy's mistake; raises `ToolError` where the tool failed."""
        if isinstance(error, BadArgument):
            return Malformed(clean(str(error)))
        kind = "" if isinstance(error, ToolError) else f"{type(error).__name__}: "
        raise ToolError(f"the tool {self.name} failed: {kind}{error}") from error


def _argument(tool: str, parameter: inspect.Parameter, hints: Mapping[str, Any], needs: str | None) -> Argument:
    name = parameter.name
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        raise OptionError(f"the tool {tool} has the parameter {parameter}: each argument needs a name of its own")
    if name not in hints:
        raise OptionError(f"the argument {name!r} of the tool {tool} has no type: annotate it, as in {name}: str")
    try:
        kind = argument_type(hints[name])
    except OptionError as error:
        raise OptionError(f"the argument {name!r} of the tool {tool}: {error}") from None
    required = parameter.default is parameter.empty and not is_optional(hints[name])
    if parameter.default is parameter.empty and not required:
        raise OptionError(f"the argument {name!r} of the tool {tool} may be None: give it the default None")
    if needs is not None and required:
        raise OptionError(f"the argument {name!r} of the tool {tool} is required, so it cannot depend on {needs!r}")
    default = None if required else _json_value(parameter.default)
    try:
        json.dumps(default, allow_nan=False)
    except (TypeError, ValueError):
        problem = f"has the default {default!r}, which is no JSON: give another, or None and the type … | None"
        raise OptionError(f"the argument {name!r} of the tool {tool} {problem}") from None
    return Argument(name, kind, required, default, needs)


def _json_value(default: Any) -> Any:
    return default.isoformat() if isinstance(default, date) else default


def as_tool(needs: Mapping[str, str] | None = None, runs_inline: bool = False) -> Callable[[Callable[..., Any]], Tool]:
    """A decorator that makes a function a tool, with the options of `Tool.of`."""
    return lambda function: Tool.of(function, needs, runs_inline)
