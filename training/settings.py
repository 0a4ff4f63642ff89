"""Settings in YAML files: typed, some by what they change in others, and refused where one is misspelt."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import OptionError

Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """A group of settings; a misspelt one is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


Settings = TypeVar("Settings", bound=Part)
_RECIPES = ("profilegym.training", "profilegym.world")  # the packages with a folder of recipes


@dataclass(frozen=True, slots=True)
class Source:
    """Settings as they stand in a file; those that come with the package have no folder."""

    name: str
    text: str
    folder: Path | None


def load_settings(kind: type[Settings], path: str | Path, changes: Sequence[str] = ()) -> Settings:
    """From a file, from one of those that come with the package by its name, or from a run's own `recipe.yaml`.

    A file that says `extends: OTHER` gives only what differs from that one. `changes` are `key.key=value`. Either way
    a group of settings is changed key by key, and `null` takes a setting back to its default.
    """
    return check_settings(kind, *read_settings(path, changes))


def read_settings(path: str | Path, changes: Sequence[str] = ()) -> tuple[dict[str, Any], str]:
    """As they stand there, unchecked, and what to call them in an error."""
    source = _source(path, Path())
    content = _resolved(source, ())
    if isinstance(content.get("stages"), dict):
        content["stages"] = _stages(content["stages"], source)
    for change in changes:
        content = _merged(content, _as_settings(change))
    return content, source.name


def check_settings(kind: type[Settings], content: Mapping[str, Any], name: str) -> Settings:
    for place, value in flat(content):
        if isinstance(value, str) and "api_key=" in value:
            raise OptionError(
                f"{name}: {place} holds a key, and a run directory keeps its recipe: set OPENAI_API_KEY instead"
            )
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        problems = [dict(problem) for problem in error.errors()]
        other = [problem for problem in problems if problem["loc"] == ("method",)]  # nothing else of it would fit
        raise OptionError(f"{name}: " + "; ".join(_told(kind, problem) for problem in other or problems)) from None


def recipe_names() -> list[str]:
    """Those that come with the package."""
    return sorted(_recipes())


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
    near = get_close_matches(name, recipe_names(), 1)
    hint = (
        f"; did you mean {near[0]!r}?" if near else f"; those that come with the package: {', '.join(recipe_names())}"
    )
    raise OptionError(f"no recipe {str(path)!r}{hint}")


def _resolved(source: Source, extending: Sequence[str]) -> dict[str, Any]:
    """With all that the source extends."""
    if source.name in extending:
        raise OptionError(f"{' extends '.join([*extending, source.name])}: nothing is left to extend")
    content = _content(source)
    base = content.pop("extends", None)
    if base is None:
        return content
    return _merged(_resolved(_source(str(base), source.folder), [*extending, source.name]), content)


def _stages(stages: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """A stage may extend one before it, or any recipe."""
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
        raise OptionError(f"{source.name} is no YAML: {error}") from error
    if isinstance(content, dict) and isinstance(content.get("settings"), dict):
        content = content["settings"]  # a run directory's, which also holds versions
    if not isinstance(content, dict):
        raise OptionError(f"{source.name} holds {type(content).__name__}, not a recipe")
    return content


def _merged(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(content)
    for name, value in changes.items():
        there = found.get(name)
        found[name] = _merged(there, value) if isinstance(there, dict) and isinstance(value, dict) else value
    return {name: value for name, value in found.items() if value is not None}


def _as_settings(change: str) -> dict[str, Any]:
    """`optimiser.steps=20` as a file would have it."""
    key, equals, value = change.partition("=")
    if not equals:
        raise OptionError(f"{change!r} changes nothing: write key=value, such as optimiser.steps=20")
    try:
        found = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise OptionError(f"{change!r}: the value is no YAML: {error}") from error
    for name in reversed(key.split(".")):
        found = {name: found}
    return dict(found)


def _told(kind: type[Part], problem: Mapping[str, Any]) -> str:
    """One of pydantic's findings, with the value and, for a misspelt key, the near-miss."""
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _fields_at(kind, problem["loc"][:-1])
        near = get_close_matches(str(problem["loc"][-1]), known, 1)
        return f"no setting {place!r}" + (f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}")
    if problem["type"] == "missing":
        return f"{place} is missing"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{place}={problem['input']!r}: {message}" if place else message


def _fields_at(kind: type[Part], place: Sequence[Any]) -> list[str]:
    part: type[BaseModel] = kind
    for name in place:
        annotation = part.model_fields[name].annotation
        found = [kind for kind in (annotation, *getattr(annotation, "__args__", ())) if isinstance(kind, type)]
        part = next(kind for kind in found if issubclass(kind, BaseModel))
    return list(part.model_fields)
