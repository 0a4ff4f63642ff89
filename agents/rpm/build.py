"""Builds a user model from a profile: features of each document, factors, statistics, reasoning paths."""

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

from ..._util.jsonl import LineWriter
from ..._util.prompts import fill, version
from ...envs.question import Document, Profile
from ...envs.text import after_thinking, clean
from ..models.model import Turn
from ..prompts import FOLDER
from .user_model import (
    LIST_MARKS,
    Cost,
    Factor,
    Feature,
    Memory,
    Observation,
    UserModel,
    features_as_lines,
    parse_features,
    statistics,
)

AskModel = Callable[[str], Awaitable[Turn]]
Result = TypeVar("Result")
_PROMPTS = ("rpm_features", "rpm_rated_features", "rpm_factors", "rpm_path")
_CHOICE = re.compile(r"(.*)\n(?:Tag: (.+)|Rating: (.+) of 5)", re.DOTALL)  # as the readers of LaMP's files write it
_FACTOR_SUFFIX = re.compile(r" \([^()]*\)$")  # models copy the factor together with the feature


@dataclass(frozen=True, slots=True)
class PastResponse:
    """A document split into the text and the user's response, None where the document has none."""

    document: str
    text: str
    response: str | None
    is_choice: bool = False


class CachedCalls:
    """Asks a model, and stores every reply in a file: after a kill no prompt is asked twice.

    `cost` covers all replies used, whenever they were paid for.
    """

    def __init__(self, path: Path, model_name: str, ask: AskModel) -> None:
        self._path, self._model_name, self._ask = path, model_name, ask
        self._stored = _read_calls(path)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # two equal posts make one prompt
        self._used: dict[str, dict[str, Any]] = {}

    async def __call__(self, prompt: str) -> str:
        key = blake2b(f"{self._model_name}\n{prompt}".encode(), digest_size=12).hexdigest()
        async with self._locks[key]:
            if key not in self._stored:
                self._stored[key] = await self._recorded(key, prompt)
        record = self._used[key] = self._stored[key]
        return after_thinking(record["reply"])

    async def _recorded(self, key: str, prompt: str) -> dict[str, Any]:
        turn = await self._ask(prompt)
        usage = {name: getattr(turn, name) for name in ("prompt_tokens", "completion_tokens", "cost")}
        record = {"call": key, "reply": turn.text, **usage}
        with LineWriter(self._path) as file:
            file.append(json.dumps(record))
        return record

    @property
    def cost(self) -> Cost:
        return Cost(len(self._used), self._sum("prompt_tokens"), self._sum("completion_tokens"), self._sum("cost"))

    def _sum(self, name: str) -> Any:
        values = [record[name] for record in self._used.values()]
        return None if None in values else sum(values)


def prompt_versions() -> str:
    """The versions of the prompts that build user models."""
    return " ".join(version(name, FOLDER) for name in _PROMPTS)


async def build(profile: Profile, model_name: str, ask: CachedCalls) -> UserModel:
    """Two calls per document and one for the factors; an empty profile needs none."""
    past = past_responses(profile)
    choices = all_choices(past)
    features = await _gather(_features(one, ask) for one in past)
    factors = await _factors(past, features, choices, ask)
    known = "\n".join(f"- {factor}" for factor in factors)
    paths = await _gather(_path(one, found, known, ask) for one, found in zip(past, features, strict=True))
    memories = tuple(
        Memory(one.document, one.text, one.response, found, path)
        for one, found, path in zip(past, features, paths, strict=True)
    )
    digest = profile.digest.hex()
    return UserModel(profile.user_id, digest, model_name, prompt_versions(), choices, factors, memories, ask.cost)


def past_responses(profile: Profile) -> list[PastResponse]:
    return [_past_response(document) for document in profile.documents]


def all_choices(past: Sequence[PastResponse]) -> bool:
    """Whether the user's responses are choices (tags, ratings) rather than free text."""
    return bool(past) and all(one.is_choice for one in past)


def list_features(features: Iterable[Feature]) -> str:
    """Every feature once, with its proposed factor, for the prompt that groups them."""
    listed = {feature.name.lower(): f"{feature.name} ({feature.factor})" for feature in features}
    return "\n".join(listed.values())


def parse_factors(reply: str, features: Sequence[Feature]) -> dict[str, tuple[str, ...]]:
    """Factor -> its features in lower case. A feature that the model left out goes to its proposed factor."""
    ungrouped = {feature.name.lower(): feature.factor for feature in features}
    groups: dict[str, list[str]] = {}
    for line in reply.splitlines():
        name, colon, members = line.partition(":")
        name = clean(name).lstrip(LIST_MARKS)
        for member in map(clean, members.split(";") if colon and name else ()):
            for spelling in (member.lower(), _FACTOR_SUFFIX.sub("", member.lower())):
                if ungrouped.pop(spelling, None) is not None:
                    groups.setdefault(name, []).append(spelling)
    for member, factor in ungrouped.items():
        groups.setdefault(factor, []).append(member)
    return {name: tuple(members) for name, members in groups.items()}


def _past_response(document: Document) -> PastResponse:
    if found := _CHOICE.fullmatch(document.text):
        return PastResponse(document.id, clean(found[1]), clean(found[2] or found[3]), is_choice=True)
    return PastResponse(document.id, clean(document.text), clean(document.title) if document.title else None)


async def _features(one: PastResponse, ask: CachedCalls) -> tuple[Feature, ...]:
    """Strength and direction are only asked for free text: for choices they are counted."""
    if one.is_choice or one.response is None:
        return parse_features(await ask(fill("rpm_features", FOLDER, text=one.text)))
    return parse_features(await ask(fill("rpm_rated_features", FOLDER, text=one.text, response=one.response)))


async def _factors(
    past: Sequence[PastResponse], features: Sequence[tuple[Feature, ...]], choices: bool, ask: CachedCalls
) -> tuple[Factor, ...]:
    every = [feature for found in features for feature in found]
    if not every:
        return ()
    groups = parse_factors(await ask(fill("rpm_factors", FOLDER, features=list_features(every))), every)
    observations = [Observation(found, one.response) for one, found in zip(past, features, strict=True)]
    return tuple(Factor(name, members, statistics(observations, members, choices)) for name, members in groups.items())


async def _path(one: PastResponse, features: tuple[Feature, ...], factors: str, ask: CachedCalls) -> str:
    """The reasoning from the features to the response; empty without a response."""
    if one.response is None:
        return ""
    values = {"person": factors, "text": one.text, "features": features_as_lines(features), "response": one.response}
    return clean(await ask(fill("rpm_path", FOLDER, **values)))


async def _gather(coroutines: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Runs all at once, and cancels the rest when one fails."""
    tasks = [asyncio.create_task(one) for one in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


def _read_calls(path: Path) -> dict[str, dict[str, Any]]:
    """Skips a line that a kill left incomplete; its prompt is asked again."""
    stored = {}
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        stored[record["call"]] = record
    return stored
