"""All that RPM knows of one person, as a file that a person can read."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...errors import DataError
from .features import Feature, as_key, as_lines
from .statistics import Statistics

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Factor:
    """Features that work in the same way, and how the person responds to them."""

    name: str
    features: tuple[str, ...]
    statistics: Statistics

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(self.features)}): {self.statistics}"


@dataclass(frozen=True, slots=True)
class Memory:
    """One thing of the past: its features, the response, and how the person came to it."""

    document: str
    text: str
    response: str | None
    features: tuple[Feature, ...]
    path: str = ""

    @property
    def key(self) -> str:
        return as_key(self.features)

    def told(self, with_path: bool) -> str:
        """As an example in a prompt."""
        rows = [f"Past text: {self.text}"]
        if with_path:
            rows += [f"Features:\n{as_lines(self.features)}", f"Reasoning: {self.path}"]
        return "\n".join([*rows, *([f"Response: {self.response}"] if self.response is not None else [])])


@dataclass(frozen=True, slots=True)
class Cost:
    """What it took to make; None where one call's share is not known."""

    calls: int = 0
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    cost: float | None = 0.0


@dataclass(frozen=True, slots=True)
class UserModel:
    """`profile` is the digest of the posts that it was made from, `by` the model that made it, by these `prompts`."""

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
    """Raises `DataError` for a file that is none of these."""
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
        raise DataError(
            f"{path} is no user model of schema {SCHEMA}: {error!r}; delete it to have it made anew"
        ) from error


def _factor(record: dict[str, Any]) -> Factor:
    return Factor(record["name"], tuple(record["features"]), Statistics(**record["statistics"]))


def _memory(record: dict[str, Any]) -> Memory:
    return Memory(**(record | {"features": tuple(Feature(**feature) for feature in record["features"])}))
