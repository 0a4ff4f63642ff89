"""`profilegym compare`: a comparison of runs as a terminal table, Markdown, LaTeX or HTML."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table

from .._util.counted import counted
from .._util.terminal import printable
from ..evaluation.compare import Comparison, Row, compare
from ..evaluation.intervals import BRACKETS, LEAST, Interval, half, reach, spread
from ..evaluation.page import Child, page, section, table, tag
from ..evaluation.run_groups import find_groups
from ..evaluation.summary import FEW_CATEGORIES, LABELS
from ..evaluation.svg import points

Format = Literal["terminal", "markdown", "latex"]
HEADS = ("figure", "run", "mean", "difference", "n")
_WIDTH = 44  # columns of a plot
_BRIEFLY = (
    "Means: ± half the width of the 95 % interval, or its other end (≥, ≤). Differences: [low, high]. "
    f"No interval below {LEAST} people; a further number in brackets: the people of a figure, if fewer."
)


def run_compare(sides: Sequence[str], judge: str | None, form: Format, out: Path | None, as_json: bool) -> None:
    found = compare(find_groups(sides), judge)
    if out:
        out.write_text(_page(found), "utf-8")
    if as_json:
        Console().print_json(data=asdict(found), ensure_ascii=False)
    elif form == "terminal":
        notes = map(printable, _notes(found, _BRIEFLY))
        Console().print(_table(found), *notes, "", *plot(found), sep="\n", highlight=False, markup=False)
    else:
        print(markdown(found) if form == "markdown" else latex(found))  # noqa: T201 (no wrapping, so that it can be pasted)


def markdown(found: Comparison) -> str:
    lines = ["| " + " | ".join(HEADS) + " |", "|---|---|--:|--:|--:|"]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in _cells(found)]
    return "\n".join([*map(printable, lines), "", *map(printable, _notes(found))])


def latex(found: Comparison) -> str:
    """A table for the LaTeX package booktabs."""
    rows = [" & ".join(map(in_latex, cells)) + r" \\" for cells in _cells(found)]
    notes = [f"% {printable(note)}" for note in _notes(found)]
    head = " & ".join(HEADS) + r" \\"
    return "\n".join(
        [*notes, r"\begin{tabular}{llrrr}", r"\toprule", head, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}"]
    )


def plot(found: Comparison) -> Iterator[str]:
    """One line per difference."""
    drawn = _differences(found)
    ends = [end for _, figure in drawn for end in (figure.low, figure.high, figure.mean) if end is not None]
    if ends:
        low, high = min(0.0, *ends), max(0.0, *ends)
        width = max(len(name) for name, _ in drawn)
        for name, figure in drawn:
            yield f"{printable(name):<{width}}  {_line(figure, low, high)}"
        yield f"{'':<{width}}  {low:<+{_WIDTH // 2}.3f}{high:>+{_WIDTH - _WIDTH // 2}.3f}"


def _line(figure: Interval, low: float, high: float) -> str:
    def place(value: float | None) -> int:
        return round((_WIDTH - 1) * ((value or 0.0) - low) / ((high - low) or 1.0))

    cells = [" "] * _WIDTH
    cells[place(0)] = "┊"
    if figure.low is not None and figure.high is not None:
        for column in range(place(figure.low), place(figure.high) + 1):
            cells[column] = "─"
    cells[place(figure.mean)] = "●"
    return "".join(cells)


def _table(found: Comparison) -> Table:
    """As narrow as it can be: a figure is named once, and the people of an interval where they are fewer."""
    shown = Table(box=box.SIMPLE_HEAD)
    for head in HEADS:
        shown.add_column(head, justify="left" if head in HEADS[:2] else "right", overflow="fold")
    names, above = _brief_names(found.runs), ""
    for row in _rows(found):
        name = _name(row, found)
        told = _mean(row.figure, found.users), _difference(row.difference, found.users)
        cells = (name if name != above else "", names[row.run], *told, f"{row.figure.n:,}")
        shown.add_row(*map(printable, cells))
        above = name
    return shown


def _brief_names(runs: Sequence[str]) -> dict[str, str]:
    """Without the folder that all of them are in."""
    in_one = len({Path(run).parent for run in runs}) == 1
    return {run: (Path(run).name or run) if in_one else run for run in runs}


def _mean(figure: Interval, users: int) -> str:
    return "–" if figure.mean is None else f"{figure.mean:.3f} {half(figure, 3, users)}".rstrip()


def _difference(figure: Interval | None, users: int) -> str:
    """With both ends of its interval, which may not be even."""
    if figure is None or figure.mean is None:
        return "–"
    people = None if figure.people == users else figure.people
    ends = "" if figure.low is None else reach(replace(figure, people=people), sign="+", unit="")
    return f"{figure.mean:+.3f} {ends}".rstrip()


def _cells(found: Comparison, brief: bool = True) -> Iterator[tuple[str, ...]]:
    for row in _rows(found, brief):
        yield _name(row, found), row.run, _spread(row.figure), _spread(row.difference, "+"), f"{row.figure.n:,}"


def _rows(found: Comparison, brief: bool = True) -> tuple[Row, ...]:
    """Of many categories a brief table tells nothing."""
    few = len({row.category for row in found.by_category}) <= FEW_CATEGORIES
    return (*found.rows, *(found.by_category if few or not brief else ()))


def _name(row: Row, found: Comparison) -> str:
    called = LABELS[row.metric]
    judged = f"{called}, {found.judge}" if row.metric in ("score", "gain") else called
    return judged if row.category is None else f"{judged}: {row.category}"


def _spread(figure: Interval | None, sign: str = "") -> str:
    return spread(figure, sign=sign, unit="")


def _notes(found: Comparison, intervals: str = BRACKETS) -> Iterator[str]:
    yield (
        f"{counted(found.common, 'question')} of {counted(found.users, 'user')}, played in all runs; difference: "
        f"to {found.runs[0]}, question by question. {intervals}"
    )
    yield from _seeds(found)
    for run, count in found.not_common.items():
        if count:
            yield f"{run}: {counted(count, 'question')} not common to all, left out"
    yield from _unscored(found)
    for name, values in found.settings.items():
        yield f"{name}: {', '.join('–' if value is None else str(value) for value in values)}"


def _seeds(found: Comparison) -> Iterator[str]:
    """The seeds of sides with several runs."""
    for run, seeds in found.seeds.items():
        if len(seeds) > 1:
            yield f"{run}: seeds {', '.join(map(str, seeds))}"
    if any(len(seeds) > 1 for seeds in found.seeds.values()):
        yield (
            "Intervals are over people and seeds, differences also seed by seed; n counts values of all seeds. "
            "Of a side with one run, the variation between seeds is not known."
        )


def _unscored(found: Comparison) -> Iterator[str]:
    """Questions without a score, and bounds of the difference with them."""
    for run, count in found.unscored.items():
        if count:
            yield f"{run}: {counted(count, 'common question')} without a score, left out of all scores"
    for run, bounds in found.bounds.items():
        yield (
            f"{run}: with all common questions its score differs by {bounds.low:+.3f} at worst (a missing score is 0, "
            f"and 1 for the reference), by {bounds.high:+.3f} at best"
        )


def _differences(found: Comparison) -> list[tuple[str, Interval]]:
    """Differences on the scale of scores, which share a plot."""
    rows, names = [row for row in found.rows if row.metric != "searches"], _brief_names(found.runs)
    return [
        (f"{LABELS[row.metric]}: {names[row.run]}", of)
        for row in rows
        if (of := row.difference) and of.mean is not None
    ]


def _page(found: Comparison) -> str:
    title = " beside ".join(found.runs)
    notes = [tag("p", note, class_="note") for note in _notes(found)]
    rows: list[list[Child]] = [list(cells) for cells in _cells(found, brief=False)]
    shown = points(_differences(found), f"Differences to {found.runs[0]}")
    return page(
        title,
        tag("h1", title),
        section("Figures", table(list(HEADS), rows), *notes),
        section(f"Differences to {found.runs[0]}", shown),
    )


_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--"}


def in_latex(text: str) -> str:
    return "".join(_LATEX.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in printable(text))
