"""RPM's model of one user: features of the documents, factors with statistics, and its JSON file."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from ...envs.text import clean
from ...errors import DataError

SCHEMA = 1
_MAX_FEATURES = 8  # per text; limits a model that lists without end
LIST_MARKS = "-*•0123456789.) "  # what models write before the items of a list


@dataclass(frozen=True, slots=True)
class Feature:
    """A property of a text that may influence the user's response.

    `context` quotes the words that show it, `factor` is the broader category. Ratings are None where no response was
    given.
    """

    name: str
    context: str
    factor: str
    strength: float | None = None
    direction: float | None = None

    def __str__(self) -> str:
        return f"{self.name} | {self.context} | {self.factor}"


@dataclass(frozen=True, slots=True)
class Observation:
    """The features of one document and the user's response to it."""

    features: tuple[Feature, ...]
    response: str | None

    def features_named(self, names: Collection[str]) -> list[Feature]:
        return [feature for feature in self.features if feature.name.lower() in names]


@dataclass(frozen=True, slots=True)
class Statistics:
    """How a user responds to one factor: `propensity` for choices, `influence` and `polarity` for free text."""

    count: int
    coverage: float
    propensity: Mapping[str, float] | None = None
    influence: float | None = None
    polarity: float | None = None

    def __str__(self) -> str:
        if self.propensity is not None:
            shares = ", ".join(f"{response} ({share:.0%})" for response, share in self.propensity.items())
            return f"seen {self.count} times: {shares}"
        ratings = (("influence", self.influence, ".2f"), ("polarity", self.polarity, "+.2f"))
        parts = [f"{name} {value:{form}}" for name, value, form in ratings if value is not None]
        return ", ".join([f"coverage {self.coverage:.2f}", *parts])


@dataclass(frozen=True, slots=True)
class Factor:
    """A group of features with the same effect, and the user's statistics for it."""

    name: str
    features: tuple[str, ...]
    statistics: Statistics

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(self.features)}): {self.statistics}"


@dataclass(frozen=True, slots=True)
class Memory:
    """One document: its features, the user's response, and the reasoning path from one to the other."""

    document: str
    text: str
    response: str | None
    features: tuple[Feature, ...]
    path: str = ""

    @property
    def key(self) -> str:
        """The text that retrieval compares with a query."""
        return features_as_query(self.features)

    def as_example(self, with_path: bool) -> str:
        """Few-shot example for the answer prompt."""
        rows = [f"Past text: {self.text}"]
        if with_path:
            rows += [f"Features:\n{features_as_lines(self.features)}", f"Reasoning: {self.path}"]
        return "\n".join([*rows, *([f"Response: {self.response}"] if self.response is not None else [])])


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of building a user model; None where the cost of one call is unknown."""

    calls: int = 0
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    cost: float | None = 0.0


@dataclass(frozen=True, slots=True)
class UserModel:
    """`profile` is the digest of the profile, `by` the model that built this, `prompts` the versions of its prompts."""

    user_id: str
    profile: str
    by: str
    prompts: str
    choices: bool
    factors: tuple[Factor, ...]
    memories: tuple[Memory, ...]
    cost: Cost

    def __str__(self) -> str:
        return "\n".join(f"- {factor}" for factor in self.factors)

    def memories_of(self, documents: Sequence[str]) -> list[Memory]:
        by_document = {memory.document: memory for memory in self.memories}
        return [by_document[document] for document in documents if document in by_document]

    def to_json(self) -> str:
        return json.dumps({"schema": SCHEMA, **asdict(self)}, ensure_ascii=False, indent=1) + "\n"


def read_user_model(path: Path) -> UserModel:
    """Raises `DataError` if the file is not a user model of this schema."""
    try:
        record = json.loads(path.read_text("utf-8"))
        if record.pop("schema") != SCHEMA:
            raise ValueError("another schema")
        parts = {
            "factors": tuple(map(_factor, record["factors"])),
            "memories": tuple(map(_memory, record["memories"])),
            "cost": Cost(**record["cost"]),
        }
        return UserModel(**(record | parts))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a user model of schema {SCHEMA}: {error!r}; delete it to rebuild it") from error


def parse_features(reply: str) -> tuple[Feature, ...]:
    """One feature per line. Skips lines without a name; a rating that is not a number becomes None."""
    found = {feature.name.lower(): feature for feature in map(_feature, reply.splitlines()) if feature}
    return tuple(found.values())[:_MAX_FEATURES]


def features_as_query(features: Iterable[Feature]) -> str:
    return "; ".join(f"{feature.name}: {feature.context} ({feature.factor})" for feature in features)


def features_as_lines(features: Iterable[Feature]) -> str:
    return "\n".join(map(str, features))


def statistics(observations: Sequence[Observation], names: Collection[str], choices: bool) -> Statistics:
    """Statistics of the factor that consists of the features with these names."""
    matching = [observation for observation in observations if observation.features_named(names)]
    coverage = len(matching) / len(observations) if observations else 0.0
    if choices:
        return Statistics(len(matching), coverage, propensity=_propensity(matching))
    rated = [observation.features_named(names) for observation in matching]
    return Statistics(
        len(matching),
        coverage,
        influence=_mean_of_means([[feature.strength for feature in features] for features in rated]),
        polarity=_mean_of_means([[feature.direction for feature in features] for features in rated]),
    )


def _propensity(observations: Sequence[Observation]) -> dict[str, float]:
    """The share of each response, the most frequent first."""
    counts = Counter(one.response for one in observations if one.response is not None)
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return {response: count / counts.total() for response, count in ordered}


def _mean_of_means(rows: Sequence[Sequence[float | None]]) -> float | None:
    """Each document counts once, however many of its features belong to the factor."""
    known = [[value for value in row if value is not None] for row in rows]
    means = [fmean(row) for row in known if row]
    return fmean(means) if means else None


def _feature(line: str) -> Feature | None:
    name, context, factor, strength, direction = ([clean(part) for part in line.split("|")] + [""] * 5)[:5]
    name = name.lstrip(LIST_MARKS)
    if not name:
        return None
    return Feature(name, context, factor or name, _rating(strength, 0.0), _rating(direction, -1.0))


def _rating(text: str, lowest: float) -> float | None:
    """A number, clipped to [lowest, 1]."""
    try:
        number = float(text)
    except ValueError:
        return None
    return min(1.0, max(lowest, number)) if number == number else None


def _factor(record: dict[str, Any]) -> Factor:
    return Factor(record["name"], tuple(record["features"]), Statistics(**record["statistics"]))


def _memory(record: dict[str, Any]) -> Memory:
    return Memory(**(record | {"features": tuple(Feature(**feature) for feature in record["features"])}))
