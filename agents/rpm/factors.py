"""Features that work in the same way, under one name."""

import re
from collections.abc import Iterable, Sequence

from ...envs.text import clean
from .features import Feature

_NOTED = re.compile(r" \([^()]*\)$")  # the factor noted for a feature, copied with it


def as_listed(features: Iterable[Feature]) -> str:
    """Every feature once, with the factor that was noted for it: what is to be grouped."""
    noted = {feature.name.lower(): f"{feature.name} ({feature.factor})" for feature in features}
    return "\n".join(noted.values())


def parse_factors(reply: str, features: Sequence[Feature]) -> dict[str, tuple[str, ...]]:
    """Factor -> its features in lower case. Each is in one: where the model forgot it, in the one first noted."""
    left = {feature.name.lower(): feature.factor for feature in features}
    groups: dict[str, list[str]] = {}
    for line in reply.splitlines():
        name, colon, members = line.partition(":")
        name = clean(name).lstrip("-*•0123456789.) ")
        for member in map(clean, members.split(";") if colon and name else ()):
            for known in (member.lower(), _NOTED.sub("", member.lower())):
                if left.pop(known, None) is not None:
                    groups.setdefault(name, []).append(known)
    for member, factor in left.items():
        groups.setdefault(factor, []).append(member)
    return {name: tuple(members) for name, members in groups.items()}
