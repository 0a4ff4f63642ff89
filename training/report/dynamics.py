"""What a run's metrics show over its steps, as curves that a page and a picture draw alike."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

Point = tuple[float, float]  # a step and a value
_WINDOWS = 15  # as many means over neighbouring steps stand side by side in a smoothed curve


@dataclass(frozen=True, slots=True)
class Curve:
    """A metric of the training steps, its mean over neighbours, and what evaluations found now and then."""

    name: str
    raw: tuple[Point, ...]
    smooth: tuple[Point, ...]
    evaluated: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """Curves that share a scale."""

    title: str
    note: str
    curves: tuple[Curve, ...]


def panels(steps: Sequence[Mapping[str, Any]]) -> Iterator[Panel]:
    """Those that there is something to draw of."""
    hops = sorted({name.split("_")[1] for step in steps for name in step if _is_by_hops(name)}, key=int)
    by_hops = {f"searches_{n}_hops": "1 hop" if n == "1" else f"{n} hops" for n in hops}
    for title, note, metrics in (
        (SCORE, "of the rollouts, with the profile and without", {"score": "with profile", "baseline": "without"}),
        (SEARCHES, "an episode, by the hops of the question", by_hops or {"searches": "searches"}),
        ("Gain", "score less that of the same question without the profile", {"gain": "gain"}),
        ("Lessons", "loss on a token of those who gave the lessons, in nats", {"lesson_loss": "loss"}),
        (
            "Health",
            _HEALTH,
            {"zero_variance": "flat", "broken": "broken", "truncated": "cut off", "unscored": "unscored"},
        ),
        ("Entropy", "of the policy's choice of a token, in nats", {"entropy": "entropy"}),
        ("Length", "tokens of the policy, an episode", {"policy_tokens": "tokens"}),
    ):
        curves = tuple(_curve(metric, name, steps) for metric, name in metrics.items())
        known = tuple(curve for curve in curves if curve.raw)
        if known:
            yield Panel(title, note, known)


SCORE, SEARCHES = "Score", "Searches"
_HEALTH = (
    "shares: of groups whose members all score the same, and so teach nothing; of episodes that break the grammar of "
    "tags, that were cut off, that could not be scored"
)


def smoothed(points: Sequence[Point]) -> tuple[Point, ...]:
    """Means over as many neighbours on both sides, fewer towards the ends."""
    reach = len(points) // _WINDOWS // 2
    return tuple(
        (step, fmean(value for _, value in points[max(0, i - reach) : i + reach + 1]))
        for i, (step, _) in enumerate(points)
    )


def _curve(metric: str, name: str, steps: Sequence[Mapping[str, Any]]) -> Curve:
    raw = _values(metric, steps)
    return Curve(name, raw, smoothed(raw), _values(f"validation_{metric}", steps))


def _values(metric: str, steps: Sequence[Mapping[str, Any]]) -> tuple[Point, ...]:
    if metric == "broken":
        return tuple((step, 1 - share) for step, share in _values("structure", steps))
    return tuple((step["step"], step[metric]) for step in steps if metric in step)


def _is_by_hops(name: str) -> bool:
    return name.startswith("searches_") and name.endswith("_hops")
