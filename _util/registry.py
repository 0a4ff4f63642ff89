"""Finds plug-ins by name: built in, registered in code, by entry point, or as `module:factory` or `file.py:factory`."""

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, TypeVar

from ..errors import OptionError, UnknownName
from .keys import HIDDEN, hidden

Scalar = str | int | float | bool
Factory = Callable[..., Any]
Made = TypeVar("Made")
_OPTION = re.compile(r"[a-z_][a-z0-9_]*=")
_UNKNOWN = re.compile(r"unexpected keyword argument ('\w+')")


class Registry:
    """Finds the factory that a spec `name[:argument][,option=value…]` names, and calls it.

    `parts` are attributes that everything made must have.
    """

    def __init__(self, kind: str, builtin: dict[str, str], parts: Sequence[str] = ()) -> None:
        self._kind, self._parts = kind, parts
        self._builtin = builtin  # name -> "module:factory", imported on use
        self._registered: dict[str, Factory] = {}

    def register(self, name: str, factory: Factory) -> None:
        if not re.fullmatch(r"[A-Za-z][\w-]*", name):
            raise OptionError(
                f"{name!r} is no valid name of a {self._kind}: use letters, digits, '-' and '_', and a letter first"
            )
        self._registered[name] = factory

    def names(self) -> list[str]:
        return sorted({*self._builtin, *self._registered, *(point.name for point in self._entry_points())})

    def make(self, spec: str, **extra: Any) -> Any:
        """`extra` are options in addition to those in the spec."""
        factory, rest = self.find(spec)
        argument, options = split_options(rest)
        _check_numbers(hidden(spec), factory, options)
        try:
            made = factory(*([argument] if argument else []), **options, **extra)
        except TypeError as error:
            if error.__traceback__ and error.__traceback__.tb_next:  # raised inside the factory, not by the call itself
                raise
            raise _unfit(f"{self._kind} {hidden(spec)!r}", error, factory) from error
        if missing := [part for part in self._parts if not hasattr(made, part)]:
            found = type(made).__name__
            raise OptionError(f"{hidden(spec)!r} makes no {self._kind}: its {found} lacks {', '.join(missing)}")
        return made

    def find(self, spec: str) -> tuple[Factory, str]:
        """The factory, and the part of the spec after its name."""
        if HIDDEN in spec:
            raise OptionError(
                f"{self._kind} {spec!r} was recorded without its key: name it again, with the key in place of {HIDDEN}"
            )
        name, _, rest = spec.partition(":")
        factory = self.lookup(name)
        if factory is not None:
            return factory, rest
        _search_working_directory()
        if rest and is_code(name):
            attribute, _, rest = rest.partition(",")
            return self._import(spec, name, attribute), rest
        raise UnknownName(f"no {self._kind} {hidden(spec)!r}; {self._meant(name)}{self._known_names()}")

    def lookup(self, name: str) -> Factory | None:
        """The factory that is registered, built in or installed as an entry point under a name."""
        if name in self._registered:
            return self._registered[name]
        if name in self._builtin:
            return _load(self._builtin[name])
        for point in self._entry_points():
            if point.name == name:
                factory: Factory = point.load()
                return factory
        return None

    def _import(self, spec: str, module: str, attribute: str) -> Factory:
        try:
            return _load(f"{module}:{attribute}")
        except (ImportError, AttributeError, OSError) as error:
            hint = f"; {self._known_names()}" if module.isidentifier() else ""  # it may be a misspelt name
            raise UnknownName(f"no {self._kind} {hidden(spec)!r}: {error}{hint}") from error

    def _meant(self, name: str) -> str:
        suffix = Path(name).suffix[1:]
        if suffix in self.names():  # as in mine.jsonl
            return f"write {suffix}:{name}; "
        if suffix == "py":
            return f"name the factory in the file: {name}:FACTORY; "
        near = get_close_matches(name, self.names(), 1)
        return f"did you mean {near[0]!r}? " if near else ""

    def _known_names(self) -> str:
        return (
            f"known: {', '.join(self.names())}; or name your own as package.module:factory or path/to/file.py:factory"
        )

    def _entry_points(self) -> Any:
        from importlib.metadata import entry_points  # takes 18 ms, which built-in names do not need

        return entry_points(group=f"profilegym.{self._kind.replace(' ', '_')}s")


def split_options(text: str) -> tuple[str, dict[str, Scalar]]:
    """`"model,pooling=mean"` -> `("model", {"pooling": "mean"})`."""
    arguments: list[str] = []
    options: dict[str, Scalar] = {}
    for piece in filter(None, text.split(",")):
        if _OPTION.match(piece):
            key, _, value = piece.partition("=")
            options[key] = _scalar(value)
        else:
            arguments.append(piece)
    return ",".join(arguments), options


def _scalar(text: str) -> Scalar:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _check_numbers(spec: str, factory: Factory, options: Mapping[str, Scalar]) -> None:
    """Raises `OptionError` for a text where the factory's type hint is a number."""
    try:
        parameters = signature(factory).parameters
    except (TypeError, ValueError):  # what is no function has none, nor have some classes in C
        return
    for name, value in options.items():
        hint = parameters[name].annotation if name in parameters else None
        wanted = next((told for hints, told in _NUMBERS if any(one == hint for one in hints)), None)
        if isinstance(value, str) and wanted:
            raise OptionError(f"{spec}: {name}={value!r}: give {wanted}")


_NUMBERS: Sequence[tuple[Sequence[Any], str]] = (
    ((int, int | None, "int", "int | None"), "a whole number"),
    ((float, float | None, "float", "float | None"), "a number"),
)


def _search_working_directory() -> None:
    """As `python -m` does, but last, so that no file there hides an installed module."""
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)


def is_code(name: str) -> bool:
    """Whether an unregistered name is that of a file or a module."""
    if name.endswith(".py") or "." in name or name in sys.modules:
        return True
    return name.isidentifier() and importlib.util.find_spec(name) is not None


def _load(target: str) -> Factory:
    module, _, attribute = target.rpartition(":")
    loaded = _load_file(Path(module)) if module.endswith(".py") else importlib.import_module(module)
    factory: Factory = getattr(loaded, attribute)
    return factory


def _load_file(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    name = f"_profilegym_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look the module up by name
    spec.loader.exec_module(module)
    return module


def construct(maker: Callable[..., Made], subject: str, entry: Factory, /, *arguments: Any, **options: Any) -> Made:
    """Makes a part with options that `entry`, the factory of a spec, hands on; errors name the options of both."""
    _check_numbers(subject, maker, options)
    try:
        return maker(*arguments, **options)
    except TypeError as error:
        raise _unfit(subject, error, entry, maker) from error


def _unfit(subject: str, error: TypeError, *takers: Factory) -> OptionError:
    """The error to raise where options do not fit a call of the takers: names the known ones where one is unknown."""
    unknown = _UNKNOWN.search(str(error))
    if unknown is None:
        return OptionError(f"{subject}: {error}")
    known = dict.fromkeys(name for taker in takers for name in _options_of(taker))
    return OptionError(f"{subject}: no option {unknown[1]}; known: {', '.join(known) or 'none'}")


def _options_of(taker: Factory) -> list[str]:
    """Its parameters that a spec can give: those with a default that is a scalar or None."""
    try:
        found = signature(taker).parameters.values()
    except ValueError:  # of a built-in function
        return []
    return [one.name for one in found if one.default is not Parameter.empty and not callable(one.default)]
