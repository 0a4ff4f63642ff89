"""A panel of curves as SVG."""

from collections.abc import Sequence
from itertools import chain
from math import ceil, floor

from ...evaluation.page import Markup, join, tag
from ...evaluation.svg import WIDTH, Axis, plot, round_step, words
from .dynamics import Curve, Panel, Point

KINDS = ("one", "two", "three", "four")  # of line, each with a colour and a dash of its own
_TOP, _HEIGHT, _FOOT, _LEFT, _RIGHT = 30, 170, 26, 42, 12


class Frame:
    """Where steps and values come to stand."""

    def __init__(self, panel: Panel) -> None:
        points = list(chain.from_iterable((*curve.raw, *curve.evaluated) for curve in panel.curves))
        self.steps = Axis.over([step for step, _ in points])
        self.values = Axis.over([value for _, value in points])

    def at(self, point: Point) -> tuple[float, float]:
        x = _share(point[0], self.steps) * (WIDTH - _LEFT - _RIGHT) + _LEFT
        y = (1 - _share(point[1], self.values)) * _HEIGHT + _TOP
        return round(x, 1), round(y, 1)

    def drawn(self) -> Markup:
        """Lines at round values, and round steps below."""
        return join(*map(self._value, _ticks(self.values)), *map(self._step, _ticks(self.steps)))

    def _value(self, value: float) -> Markup:
        _, y = self.at((0, value))
        line = tag("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y, class_="axis" if value else "zero")
        return join(line, words(f"{value:.3g}", _LEFT - 6, y + 4, "end"))

    def _step(self, step: float) -> Markup:
        x, _ = self.at((step, 0))
        return words(f"{step:,.0f}", x, _TOP + _HEIGHT + 18, "middle")


def drawn(panel: Panel) -> Markup:
    """Each curve thin as it was, thick as it is smoothed, with circles where it was evaluated."""
    frame = Frame(panel)
    lines = [_drawn(curve, kind, frame) for curve, kind in zip(panel.curves, KINDS, strict=False)]
    return plot(panel.title, _TOP + _HEIGHT + _FOOT, frame.drawn(), *lines, _legend(panel.curves))


def _drawn(curve: Curve, kind: str, frame: Frame) -> Markup:
    circles = [_circle(point, kind, frame) for point in curve.evaluated]
    return join(_line(curve.raw, f"raw {kind}", frame), _line(curve.smooth, f"line {kind}", frame), *circles)


def _line(points: Sequence[Point], kind: str, frame: Frame) -> Markup:
    return tag("polyline", points=" ".join(f"{x:g},{y:g}" for x, y in map(frame.at, points)), class_=kind)


def _circle(point: Point, kind: str, frame: Frame) -> Markup:
    x, y = frame.at(point)
    return tag("circle", tag("title", f"{point[1]:.3f}"), cx=x, cy=y, r=4.5, class_=f"ring {kind}")


def _legend(curves: Sequence[Curve]) -> Markup:
    width = (WIDTH - _LEFT - _RIGHT) / len(curves)
    return join(*(_entry(c, k, _LEFT + width * n) for n, (c, k) in enumerate(zip(curves, KINDS, strict=False))))


def _entry(curve: Curve, kind: str, x: float) -> Markup:
    line = tag("polyline", points=f"{x:g},12 {x + 22:g},12", class_=f"line {kind}")
    return join(line, words(curve.name, x + 27, 16, "start"))


def _ticks(axis: Axis) -> list[float]:
    step = round_step(axis.high - axis.low)
    return [step * n for n in range(ceil(axis.low / step - 1e-9), floor(axis.high / step + 1e-9) + 1)]


def _share(value: float, axis: Axis) -> float:
    return (value - axis.low) / (axis.high - axis.low)
