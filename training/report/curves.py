"""The training curves of a report: which metrics are drawn together, and their panels as SVG."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from statistics import fmean
from typing import Any

from ...evaluation.page import Markup, join, tag
from ...evaluation.svg import WIDTH, Axis, plot, round_step, words

Point = tuple[float, float]  # a step and a value
_WINDOWS = 15  # separate averaging windows along a smoothed curve
_KINDS = ("one", "two", "three", "four")  # CSS classes: a colour and a dash pattern for each curve of a panel
_TOP, _HEIGHT, _FOOT, _LEFT, _RIGHT = 30, 170, 26, 42, 12  # pixels around and of the plot area
_HEALTH = (
    "shares: of groups whose members all score the same, and so teach nothing; of episodes that break their "
    "grammar, that were cut off, that could not be scored"
)


@dataclass(frozen=True, slots=True)
class Curve:
    """A metric of the training steps, its moving average, and its values in evaluations."""

    name: str
    raw: tuple[Point, ...]
    smooth: tuple[Point, ...]
    evaluated: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """Curves over one y axis."""

    title: str
    note: str
    curves: tuple[Curve, ...]


def panels(steps: Sequence[Mapping[str, Any]]) -> Iterator[Panel]:
    """The panels of a run's metrics; one without data is left out."""
    hops = sorted({name.split("_")[1] for step in steps for name in step if _is_by_hops(name)}, key=int)
    by_hops = {f"searches_{n}_hops": "1 hop" if n == "1" else f"{n} hops" for n in hops}
    health = {"zero_variance": "flat", "broken": "broken", "truncated": "cut off", "unscored": "unscored"}
    for title, note, metrics in (
        ("Score", "of the rollouts, with the profile and without", {"score": "with profile", "baseline": "without"}),
        ("Searches", "an episode, by the hops of the question", by_hops or {"searches": "searches"}),
        ("Gain", "score less that of the same question without the profile", {"gain": "gain"}),
        ("Lessons", "loss on a token of the demonstrations, in nats", {"lesson_loss": "loss"}),
        ("Health", _HEALTH, health),
        ("Entropy", "of the policy's choice of a token, in nats", {"entropy": "entropy"}),
        ("Length", "tokens of the policy, an episode", {"policy_tokens": "tokens"}),
    ):
        curves = tuple(_curve(metric, name, steps) for metric, name in metrics.items())
        known = tuple(curve for curve in curves if curve.raw)
        if known:
            yield Panel(title, note, known)


def smoothed(points: Sequence[Point]) -> tuple[Point, ...]:
    """The centred moving average; the window shrinks towards the ends."""
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


def drawn(panel: Panel) -> Markup:
    """The panel as SVG: thin raw curves, thick smoothed ones, circles for evaluations."""
    points = [point for curve in panel.curves for point in (*curve.raw, *curve.evaluated)]
    frame = _Frame(Axis.over([step for step, _ in points]), Axis.over([value for _, value in points]))
    lines = [_drawn(curve, kind, frame) for curve, kind in zip(panel.curves, _KINDS, strict=False)]
    return plot(panel.title, _TOP + _HEIGHT + _FOOT, frame.drawn(), *lines, _legend(panel.curves))


@dataclass(frozen=True, slots=True)
class _Frame:
    """Maps steps and values to pixels."""

    steps: Axis
    values: Axis

    def at(self, point: Point) -> tuple[float, float]:
        x = _share(point[0], self.steps) * (WIDTH - _LEFT - _RIGHT) + _LEFT
        y = (1 - _share(point[1], self.values)) * _HEIGHT + _TOP
        return round(x, 1), round(y, 1)

    def drawn(self) -> Markup:
        """Horizontal grid lines, and the labels of both axes."""
        return join(*map(self._value, _ticks(self.values)), *map(self._step, _ticks(self.steps)))

    def _value(self, value: float) -> Markup:
        _, y = self.at((0, value))
        line = tag("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y, class_="axis" if value else "zero")
        return join(line, words(f"{value:.3g}", _LEFT - 6, y + 4, "end"))

    def _step(self, step: float) -> Markup:
        x, _ = self.at((step, 0))
        return words(f"{step:,.0f}", x, _TOP + _HEIGHT + 18, "middle")


def _drawn(curve: Curve, kind: str, frame: _Frame) -> Markup:
    circles = [_circle(point, kind, frame) for point in curve.evaluated]
    return join(_line(curve.raw, f"raw {kind}", frame), _line(curve.smooth, f"line {kind}", frame), *circles)


def _line(points: Sequence[Point], kind: str, frame: _Frame) -> Markup:
    return tag("polyline", points=" ".join(f"{x:g},{y:g}" for x, y in map(frame.at, points)), class_=kind)


def _circle(point: Point, kind: str, frame: _Frame) -> Markup:
    x, y = frame.at(point)
    return tag("circle", tag("title", f"{point[1]:.3f}"), cx=x, cy=y, r=4.5, class_=f"ring {kind}")


def _legend(curves: Sequence[Curve]) -> Markup:
    width = (WIDTH - _LEFT - _RIGHT) / len(curves)
    return join(*(_entry(c, k, _LEFT + width * n) for n, (c, k) in enumerate(zip(curves, _KINDS, strict=False))))


def _entry(curve: Curve, kind: str, x: float) -> Markup:
    line = tag("polyline", points=f"{x:g},12 {x + 22:g},12", class_=f"line {kind}")
    return join(line, words(curve.name, x + 27, 16, "start"))


def _ticks(axis: Axis) -> list[float]:
    step = round_step(axis.high - axis.low)
    return [step * n for n in range(ceil(axis.low / step - 1e-9), floor(axis.high / step + 1e-9) + 1)]


def _share(value: float, axis: Axis) -> float:
    return (value - axis.low) / (axis.high - axis.low)
