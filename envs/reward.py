"""What an episode was worth, as the environment sees it; how it is found out lives in `rewards`."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AspectMatch:
    """How well one aspect was covered: 0 not, 1 somewhat, 2 very well."""

    title: str
    match: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One judge's view of one answer; `score` is the sum of matches over twice the number of aspects."""

    judge: str
    score: float
    aspects: tuple[AspectMatch, ...]


@dataclass(slots=True)
class Reward:
    """`total` plus the named parts that it was made of, or `None` and why it could not be had."""

    total: float | None
    parts: Mapping[str, float] = field(default_factory=dict)
    verdict: Verdict | None = None
    unscored: str | None = None
    flags: tuple[str, ...] = ()  # signs that the answer talks to the judge; no total depends on them
