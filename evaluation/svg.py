"""Small SVG plots that fit a phone screen."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from .intervals import Interval, spread
from .page import Markup, join, style, tag

WIDTH = 440
_EDGE, _ROW, _AXIS = 20, 40, 24


@dataclass(frozen=True, slots=True)
class Bar:
    """The number of values between two edges."""

    low: float
    high: float
    count: int


def binned(values: Sequence[float]) -> list[Bar]:
    """About twenty bins of a round width, the middle one around zero."""
    reach = max(map(abs, values), default=0.0) or 1.0
    width = round_step(2 * reach) / 5
    count = Counter(round(value / width) for value in values)
    edge = max(map(abs, count), default=0)
    return [Bar(width * (n - 0.5), width * (n + 0.5), count[n]) for n in range(-edge, edge + 1)]


def points(rows: Sequence[tuple[str, Interval]], title: str) -> Markup:
    """A point and its interval per row, over a common axis with a line at zero."""
    known = [(name, figure) for name, figure in rows if figure.mean is not None]
    if not known:
        return tag("p", "Nothing was measured.", class_="note")
    ends = [end for _, figure in known for end in (figure.low, figure.high, figure.mean) if end is not None]
    axis = Axis.over(ends)
    drawn = [_point(name, figure, axis, _ROW * place) for place, (name, figure) in enumerate(known)]
    height = _ROW * len(known)
    zero = tag("line", x1=axis.at(0), x2=axis.at(0), y1=0, y2=height, class_="zero")
    return plot(title, height + _AXIS, axis.drawn(height), zero, *drawn)


def histogram(bars: Sequence[Bar], title: str) -> Markup:
    """Bars below, at and above zero differ in colour; each shows its count."""
    axis, height, top = Axis.over([bars[0].low, bars[-1].high]), 150, 18
    most = max(1, *(bar.count for bar in bars))
    drawn = [_bar(bar, axis, top + height, height * bar.count / most) for bar in bars if bar.count]
    return plot(title, top + height + _AXIS, axis.drawn(top + height), *drawn)


@dataclass(frozen=True, slots=True)
class Axis:
    """A horizontal axis that includes zero."""

    low: float
    high: float

    @classmethod
    def over(cls, values: Sequence[float]) -> "Axis":
        low, high = min(0.0, *values), max(0.0, *values)
        return cls(low, high if high > low else low + 1)

    def at(self, value: float) -> float:
        return round(_EDGE + (WIDTH - 2 * _EDGE) * (value - self.low) / (self.high - self.low), 1)

    def drawn(self, y: float) -> Markup:
        """The axis with ticks at round values."""
        step = round_step(self.high - self.low)
        numbers = range(ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9) + 1)
        sign = "+" if self.low < 0 else ""
        values = [words(f"{step * n:{sign if n else ''}.3g}", self.at(step * n), y + 17, "middle") for n in numbers]
        return join(tag("line", x1=self.at(self.low), x2=self.at(self.high), y1=y, y2=y, class_="axis"), *values)


def _point(name: str, figure: Interval, axis: Axis, y: int) -> Markup:
    middle = y + 29
    drawn = [words(name, 0, y + 15, "start", None), words(spread(figure), WIDTH, y + 15, "end")]
    if figure.low is not None and figure.high is not None:
        low, high = axis.at(figure.low), axis.at(figure.high)
        drawn.append(tag("line", x1=low, x2=high, y1=middle, y2=middle, class_="reach"))
    return join(*drawn, tag("circle", cx=axis.at(figure.mean or 0), cy=middle, r=5, class_="point"))


def _bar(bar: Bar, axis: Axis, foot: float, height: float) -> Markup:
    left, right = axis.at(bar.low), axis.at(bar.high)
    kind = "up" if bar.low > 0 else "down" if bar.high < 0 else "flat"
    drawn = tag("rect", x=left + 0.5, y=foot - height, width=right - left - 1, height=height, class_=kind)
    return join(drawn, words(str(bar.count), (left + right) / 2, foot - height - 4, "middle"))


def words(told: str, x: float, y: float, anchor: str, kind: str | None = "soft") -> Markup:
    return tag("text", told, x=x, y=y, text_anchor=anchor, class_=kind)


def plot(title: str, height: float, *drawn: Markup) -> Markup:
    return tag("svg", tag("title", title), *drawn, viewBox=f"0 0 {WIDTH} {height:g}", role="img", aria_label=title)


def file_of(plot: Markup) -> str:
    """The plot as a file of its own, which a page of Markdown can show."""
    head, _, drawn = plot.partition(">")
    looks = tag("style", Markup(style()), "svg { background: var(--page); }")
    return f'{head} xmlns="http://www.w3.org/2000/svg">{looks}{drawn}\n'


def round_step(reach: float) -> float:
    """A round step that gives three to eight ticks."""
    rough = 10 ** floor(log10(reach / 4))
    return float(next(rough * factor for factor in (1, 2, 5, 10) if reach / (rough * factor) <= 7))
