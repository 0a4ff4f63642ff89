"""`report.png`: how the run went and where it ended, for a place that shows no page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import MissingExtra
from ...evaluation.intervals import Interval
from .comparison import Test
from .dynamics import SCORE, SEARCHES, Panel

_COLOURS = ("#1f5fbf", "#b3261e", "#1a6e3c", "#6a7078")
_DASHES = ("-", "--", "-.", ":")


def write_figure(shown: Sequence[Panel], tests: Sequence[Test], path: Path) -> None:
    """The score and the searches over the steps, and the contenders of the first test set."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("the picture of a training run", "train") from error
    curves = [panel for panel in shown if panel.title in (SCORE, SEARCHES)]
    count = len(curves) + bool(tests)
    figure = Figure(figsize=(5.2 * max(count, 1), 3.8), dpi=150, layout="constrained")
    axes = [figure.add_subplot(1, count, place + 1) for place in range(count)]
    for panel, axis in zip(curves, axes, strict=False):
        _curves(panel, axis)
    if tests:
        _contenders(tests[0], axes[-1])
    figure.savefig(path, metadata={"Software": None})


def _curves(panel: Panel, axis: Any) -> None:
    for curve, colour, dash in zip(panel.curves, _COLOURS, _DASHES, strict=False):
        axis.plot(*zip(*curve.raw, strict=True), color=colour, linewidth=0.6, alpha=0.4)
        axis.plot(*zip(*curve.smooth, strict=True), color=colour, linestyle=dash, linewidth=1.8, label=curve.name)
        if curve.evaluated:
            axis.plot(*zip(*curve.evaluated, strict=True), "o", color=colour, markersize=5, markerfacecolor="white")
    _plain(axis, f"{panel.title} in training")
    axis.set_xlabel("step")
    axis.set_ylim(bottom=min(0, *(value for curve in panel.curves for _, value in (*curve.raw, *curve.evaluated))))
    axis.legend(frameon=False, fontsize=8)


def _contenders(test: Test, axis: Any) -> None:
    figures = {who: test.figure(who, "score") for who in reversed(test.runs)}
    for place, figure in enumerate(figures.values()):
        if figure is not None and figure.mean is not None:
            if figure.low is not None:
                axis.plot([figure.low, figure.high], [place, place], color=_COLOURS[0], linewidth=2)
            axis.plot([figure.mean], [place], "o", color=_COLOURS[0])
            axis.annotate(_told(figure), (figure.mean, place), (0, 6), textcoords="offset points", ha="center")
    axis.set_yticks(range(len(figures)), list(figures))
    axis.set_ylim(-0.5, len(figures) - 0.3)
    axis.set_xlim(left=min([0, *(figure.low or 0 for figure in figures.values() if figure)]))
    _plain(axis, f"Score on {test.name}, by {test.judge}")


def _told(figure: Interval) -> str:
    return f"{figure.mean:.2f}" + (f" ({figure.people} people)" if figure.people else "")


def _plain(axis: Any, title: str) -> None:
    axis.set_title(title, fontsize=10, loc="left")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)
