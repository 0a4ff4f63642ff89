"""From a profile to a user's model: features of everything, factors of all features, statistics, paths."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from ..._util.prompts import fill, version
from ...envs.question import Profile
from ...envs.text import clean
from ..prompts import FOLDER
from .calls import Calls
from .factors import as_listed, parse_factors
from .features import Feature, as_lines, parse_features
from .history import Past, has_choices, history
from .statistics import Observation, statistics
from .user_model import Factor, Memory, UserModel

Made = TypeVar("Made")
_PROMPTS = ("rpm_features", "rpm_rated_features", "rpm_factors", "rpm_path")


def prompts() -> str:
    """The versions of the prompts that users' models are made by."""
    return " ".join(version(name, FOLDER) for name in _PROMPTS)


async def build(profile: Profile, by: str, calls: Calls) -> UserModel:
    """Two calls for each thing of the past and one for the factors; an empty past needs none."""
    past = history(profile)
    choices = has_choices(past)
    features = await _together(_features(one, calls) for one in past)
    factors = await _factors(past, features, choices, calls)
    known = "\n".join(f"- {factor}" for factor in factors)
    paths = await _together(_path(one, of, known, calls) for one, of in zip(past, features, strict=True))
    memories = tuple(
        Memory(one.document, one.text, one.response, of, path)
        for one, of, path in zip(past, features, paths, strict=True)
    )
    return UserModel(profile.user_id, profile.digest.hex(), by, prompts(), choices, factors, memories, calls.cost)


async def _features(one: Past, calls: Calls) -> tuple[Feature, ...]:
    """How strongly a feature works, and which way, is only asked of texts: for choices it is counted."""
    if one.is_choice or one.response is None:
        return parse_features(await calls(fill("rpm_features", FOLDER, text=one.text)))
    values = {"text": one.text, "response": one.response}
    return parse_features(await calls(fill("rpm_rated_features", FOLDER, **values)))


async def _factors(
    past: Sequence[Past], features: Sequence[tuple[Feature, ...]], choices: bool, calls: Calls
) -> tuple[Factor, ...]:
    every = [feature for of in features for feature in of]
    if not every:
        return ()
    groups = parse_factors(await calls(fill("rpm_factors", FOLDER, features=as_listed(every))), every)
    sights = [Observation(of, one.response) for one, of in zip(past, features, strict=True)]
    return tuple(Factor(name, members, statistics(sights, members, choices)) for name, members in groups.items())


async def _path(one: Past, features: tuple[Feature, ...], person: str, calls: Calls) -> str:
    """Nothing explains a response that is not there."""
    if one.response is None:
        return ""
    values = {"person": person, "text": one.text, "features": as_lines(features)}
    return clean(await calls(fill("rpm_path", FOLDER, **values, response=one.response)))


async def _together(asked: Iterable[Coroutine[Any, Any, Made]]) -> list[Made]:
    """At once; when one fails, nobody goes on asking in vain."""
    tasks = [asyncio.create_task(one) for one in asked]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
