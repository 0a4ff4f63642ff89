"""Typed settings in YAML files, which can extend each other; unknown keys are refused."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .._util.keys import without_keys
from ..errors import OptionError

Fraction = Annotated[float, Field(ge=0, le=1)]


class SettingsModel(BaseModel):
    """A group of settings; an unknown key is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


AnySettings = TypeVar("AnySettings", bound=SettingsModel)
_RECIPES = ("profilegym.training", "profilegym.world")  # packages with a folder recipes/


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a settings file; one from the package has no folder."""

    name: str
    text: str
    folder: Path | None


def load_settings(kind: type[AnySettings], path: str | Path, changes: Sequence[str] = ()) -> AnySettings:
    """Load a file, a recipe of the package by its name, or the `recipe.yaml` of a run.

    A file with `extends: OTHER` gives only what differs from the other one. `changes` are `key.key=value`. Both are
    merged key by key, and `null` resets a setting to its default.
    """
    return check_settings(kind, *read_settings(path, changes))


def read_settings(path: str | Path, changes: Sequence[str] = ()) -> tuple[dict[str, Any], str]:
    """The merged settings before validation, and their name for error messages."""
    source = _source(path, Path())
    content = _resolved(source, ())
    if isinstance(content.get("stages"), dict):
        content["stages"] = _stages(content["stages"], source)
    for change in changes:
        content = _merged(content, _as_settings(change))
    return content, source.name


def check_settings(kind: type[AnySettings], content: Mapping[str, Any], name: str) -> AnySettings:
    for place, value in flat(content):
        if isinstance(value, str | list) and without_keys(value) != value:
            raise OptionError(
                f"{name}: {place} contains an API key, or the password of a URL, and no run directory keeps one: "
                "set OPENAI_API_KEY instead"
            )
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        problems = [dict(problem) for problem in error.errors()]
        other = [
            problem for problem in problems if problem["loc"] == ("method",)
        ]  # an unknown method explains all other errors
        raise OptionError(f"{name}: " + "; ".join(_as_text(kind, problem) for problem in other or problems)) from None


def recipe_names() -> list[str]:
    """The names of the package's recipes."""
    return sorted(_recipes())


def head_of(path: str | Path) -> str:
    """The comment at the head of a recipe's file: what it is for, what it needs, and what to type."""
    lines = takewhile(lambda line: line.startswith("#"), _source(path, Path()).text.splitlines())
    return "".join(f"{line}\n" for line in lines)


def flat(settings: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """Each setting with its dotted name."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{place}{name}.")
        else:
            yield f"{place}{name}", value


def _recipes() -> dict[str, Traversable]:
    found = (file for package in _RECIPES for file in files(package).joinpath("recipes").iterdir())
    return {file.name.removesuffix(".yaml"): file for file in found if file.name.endswith(".yaml")}


def _source(path: str | Path, folder: Path | None) -> Source:
    if folder is not None and (file := folder / path).is_file():
        return Source(str(file), file.read_text("utf-8"), file.parent)
    name = str(path).rpartition("/")[2].removesuffix(".yaml")
    if shipped := _recipes().get(name):
        return Source(f"{name}.yaml", shipped.read_text("utf-8"), None)
    if str(path).endswith((".yaml", ".yml")) or "/" in str(path):
        raise OptionError(f"there is no file {str(path)!r}; profilegym recipes lists those of the package, by name")
    near = get_close_matches(name, recipe_names(), 1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(recipe_names())}"
    raise OptionError(f"no recipe {str(path)!r}{hint}")


def _resolved(source: Source, extending: Sequence[str]) -> dict[str, Any]:
    """The settings merged with those that they extend."""
    if source.name in extending:
        raise OptionError(f"{' extends '.join([*extending, source.name])}: a recipe cannot extend itself")
    content = _content(source)
    base = content.pop("extends", None)
    if base is None:
        return content
    return _merged(_resolved(_source(str(base), source.folder), [*extending, source.name]), content)


def _stages(stages: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """A stage may extend an earlier stage or any recipe."""
    found: dict[str, Any] = {}
    for name, stage in stages.items():
        own = dict(stage) if isinstance(stage, dict) else {}
        base = own.pop("extends", None)
        if base is not None:
            own = _merged(found[base] if base in found else _resolved(_source(base, source.folder), ()), own)
        found[name] = own
    return found


def _content(source: Source) -> dict[str, Any]:
    try:
        content = yaml.safe_load(source.text)
    except yaml.YAMLError as error:
        raise OptionError(f"{source.name} is not valid YAML: {error}") from error
    if isinstance(content, dict) and isinstance(content.get("settings"), dict):
        content = content["settings"]  # the recipe.yaml of a run also has versions
    if not isinstance(content, dict):
        raise OptionError(f"{source.name} contains {type(content).__name__}, not a recipe")
    return content


def _merged(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(content)
    for name, value in changes.items():
        there = found.get(name)
        found[name] = _merged(there, value) if isinstance(there, dict) and isinstance(value, dict) else value
    return {name: value for name, value in found.items() if value is not None}


def _as_settings(change: str) -> dict[str, Any]:
    """`optimiser.steps=20` as nested settings."""
    key, equals, value = change.partition("=")
    if not equals:
        raise OptionError(f"{change!r} is not key=value, such as optimiser.steps=20")
    try:
        found = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise OptionError(f"{change!r}: the value is not valid YAML: {error}") from error
    for name in reversed(key.split(".")):
        found = {name: found}
    return dict(found)


def _as_text(kind: type[SettingsModel], problem: Mapping[str, Any]) -> str:
    """A pydantic error with its value, and the closest known key for an unknown one."""
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _fields_at(kind, problem["loc"][:-1])
        near = get_close_matches(str(problem["loc"][-1]), known, 1)
        return f"no setting {place!r}" + (f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}")
    if problem["type"] == "missing":
        return f"{place} is missing"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{place}={problem['input']!r}: {message}" if place else message


def _fields_at(kind: type[SettingsModel], place: Sequence[Any]) -> list[str]:
    part: type[BaseModel] = kind
    for name in place:
        annotation = part.model_fields[name].annotation
        found = [kind for kind in (annotation, *getattr(annotation, "__args__", ())) if isinstance(kind, type)]
        part = next(kind for kind in found if issubclass(kind, BaseModel))
    return list(part.model_fields)
