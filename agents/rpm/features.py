"""What in a text moves a person: features, as the model lists them and as files keep them."""

from collections.abc import Iterable
from dataclasses import dataclass

from ...envs.text import clean

_MOST = 8  # of a text: a model that lists without end is not believed


@dataclass(frozen=True, slots=True)
class Feature:
    """What it is called, the words that show it, and the broader factor; rated only where a response was seen."""

    name: str
    context: str
    factor: str
    strength: float | None = None
    direction: float | None = None

    def __str__(self) -> str:
        return f"{self.name} | {self.context} | {self.factor}"


def parse_features(reply: str) -> tuple[Feature, ...]:
    """One a line; a line with less than a name is left out, and a rating that is no number is not known."""
    found = {feature.name.lower(): feature for feature in map(_feature, reply.splitlines()) if feature}
    return tuple(found.values())[:_MOST]


def as_key(features: Iterable[Feature]) -> str:
    """The text by which features are compared."""
    return "; ".join(f"{feature.name}: {feature.context} ({feature.factor})" for feature in features)


def as_lines(features: Iterable[Feature]) -> str:
    return "\n".join(map(str, features))


def _feature(line: str) -> Feature | None:
    name, context, factor, strength, direction = ([clean(part) for part in line.split("|")] + [""] * 5)[:5]
    name = name.lstrip("-*•0123456789.) ")
    if not name:
        return None
    return Feature(name, context, factor or name, _number(strength, 0.0), _number(direction, -1.0))


def _number(text: str, least: float) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return min(1.0, max(least, number)) if number == number else None
