"""How a person responds to a factor: counts where responses are choices, ratings where they are texts."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from .features import Feature


@dataclass(frozen=True, slots=True)
class Observation:
    """One thing of the past, as the statistics see it."""

    features: tuple[Feature, ...]
    response: str | None


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of one factor. `propensity` is for choices, `influence` and `polarity` are for texts; unknown is None."""

    count: int
    coverage: float
    propensity: Mapping[str, float] | None = None
    influence: float | None = None
    polarity: float | None = None

    def __str__(self) -> str:
        if self.propensity is not None:
            shares = ", ".join(f"{response} ({share:.0%})" for response, share in self.propensity.items())
            return f"seen {self.count} times: {shares}"
        rated = (("influence", self.influence, ".2f"), ("polarity", self.polarity, "+.2f"))
        parts = [f"{name} {value:{form}}" for name, value, form in rated if value is not None]
        return ", ".join([f"coverage {self.coverage:.2f}", *parts])


def statistics(past: Sequence[Observation], members: Collection[str], choices: bool) -> Statistics:
    """Of the factor to which the features of these names belong."""
    held = [sight for sight in past if _of(sight, members)]
    coverage = len(held) / len(past) if past else 0.0
    if choices:
        return Statistics(len(held), coverage, propensity=propensity(held))
    rated = [_of(sight, members) for sight in held]
    return Statistics(
        len(held),
        coverage,
        influence=_mean_of_means([[feature.strength for feature in features] for features in rated]),
        polarity=_mean_of_means([[feature.direction for feature in features] for features in rated]),
    )


def propensity(held: Sequence[Observation]) -> dict[str, float]:
    """The share of each response among the things that hold a feature of the factor, the commonest first."""
    counts = Counter(sight.response for sight in held if sight.response is not None)
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return {response: count / counts.total() for response, count in ordered}


def _of(sight: Observation, members: Collection[str]) -> list[Feature]:
    return [feature for feature in sight.features if feature.name.lower() in members]


def _mean_of_means(rows: Sequence[Sequence[float | None]]) -> float | None:
    """Each thing counts once, however many of its features belong to the factor."""
    known = [[value for value in row if value is not None] for row in rows]
    means = [fmean(row) for row in known if row]
    return fmean(means) if means else None
