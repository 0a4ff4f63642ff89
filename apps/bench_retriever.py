"""`profilegym bench retriever`: retrievers beside bm25 on the terminal, as JSON, as LaTeX, and on a page."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal, NamedTuple

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from .._util.counted import counted
from .._util.terminal import printable
from ..benchmarks.retriever import METRICS, REFERENCE, UNITS, Comparison, Cost, Estimate, Row, compare, rows_of
from ..benchmarks.tool_use import SHOWN_AT_ONCE
from ..envs.data import load_questions
from ..evaluation import page
from ..evaluation.intervals import LEAST, Interval
from .compare import in_latex
from .options import is_quiet

Form = Literal["terminal", "json", "latex"]
_COST_HEADS = ["load, s", "index, s", "index, bytes a document", "search p50, ms", "search p95, ms"]


class _Titled(NamedTuple):
    title: str
    heads: list[str]
    rows: list[list[str]]


def run(
    specs: Sequence[str],
    data: str,
    limit: int | None,
    form: Form,
    html: Path | None,
    tools: str | None = None,
    on: str | None = None,
) -> None:
    """Measure the retrievers, alone and with `tools`, and print tables; `html` is the file of a page."""
    found = _measured(specs, data, limit, tools, on)
    if html:
        html.write_text(as_page(found), "utf-8")
    if form == "json":
        Console().print_json(data=asdict(found), ensure_ascii=False)
    elif form == "latex":
        print(latex(found))  # noqa: T201 (no wrapping, so that it can be pasted)
    else:
        _show(found, Console())


def latex(found: Comparison) -> str:
    """Tables for the package booktabs."""
    lines = [f"% {printable(note)}" for note in _notes(found)]
    for table in _tables(found):
        columns = "l" + "r" * (len(table.heads) - 1)
        lines += ["", f"% {table.title}", rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _latex_row(table.heads)]
        lines += [r"\midrule", *map(_latex_row, table.rows), r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines)


def as_page(found: Comparison) -> str:
    title = f"Retrievers on {found.data}"
    notes = [page.tag("p", note, class_="note") for note in _notes(found)]
    tables = [
        page.section(table.title, page.table(table.heads, [list[page.Child](row) for row in table.rows]))
        for table in _tables(found)
    ]
    return page.page(title, page.tag("h1", title), *notes, *tables)


def _measured(specs: Sequence[str], data: str, limit: int | None, tools: str | None, on: str | None) -> Comparison:
    questions = load_questions(data)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=is_quiet()) as progress:
        total = min(len(questions), limit or len(questions))
        tasks = {name: progress.add_task(escape(name), total=total) for name in rows_of(specs, tools)}
        return compare(specs, questions, limit, lambda name: progress.advance(tasks[name]), tools, on)


def _show(found: Comparison, console: Console) -> None:
    console.print(*map(printable, _notes(found)), sep="\n", highlight=False, markup=False)
    for table in _tables(found):
        shown = Table(box=box.SIMPLE_HEAD, title=Text(printable(table.title)), title_justify="left")
        for place, head in enumerate(table.heads):
            shown.add_column(head, justify="right" if place else "left", overflow="fold")
        for row in table.rows:
            shown.add_row(*(escape(printable(cell)) for cell in row))
        console.print(shown)


def _notes(found: Comparison) -> Iterator[str]:
    yield (
        f"{found.data}: {counted(found.questions, 'question')} of {counted(found.people, 'person', 'people')} with "
        f"{counted(found.documents, 'document')}; one search each. Left out: "
        f"{counted(found.without_evidence, 'question')} without evidence."
    )
    if found.tools is not None:
        yield (
            f"With {found.tools}, tools that take one text are given the question, with {SHOWN_AT_ONCE} documents of a "
            "search; those that take an id are given each document shown, in its order; then all begins again. Cutoffs "
            "count the documents shown."
        )
    yield f"Means over questions, in percent. In brackets: 95 % intervals; none below {LEAST} people or questions."
    if any(row.by == "session" for row in found.rows):
        yield "By session, a session is found with any of its documents; cutoffs count documents."
    if _has_few_people(found.rows[0]):
        yield (
            f"There are only {found.people:,} people. An interval over questions takes these people as given: "
            "it says nothing about other people."
        )


def _has_few_people(row: Row) -> bool:
    return row.figures[0].value.questions is not None


def _tables(found: Comparison) -> Iterator[_Titled]:
    for unit in UNITS:
        yield from _quality([row for row in found.rows if row.by == unit])
    yield _Titled("Cost", ["retriever", *_COST_HEADS], [[spec, *_cost(cost)] for spec, cost in found.costs.items()])


def _quality(rows: Sequence[Row]) -> Iterator[_Titled]:
    """The tables of one unit; none where the data names no such evidence."""
    if not rows:
        return
    overall = [row for row in rows if row.category is None]
    title = f"Quality by {rows[0].by}, {counted(overall[0].questions, 'question')}"
    yield _Titled(title, ["retriever", *METRICS], [[row.retriever, *_means(row)] for row in overall])
    for row in overall:
        yield _with_intervals(row)
    if by_category := [row for row in rows if row.category is not None]:
        cells = [[row.category or "", row.retriever, f"{row.questions:,}", *_means(row)] for row in by_category]
        title = f"By category and {rows[0].by}"
        yield _Titled(title, ["category", "retriever", "questions", *METRICS], cells)


def _means(row: Row) -> list[str]:
    return [_percent(figure.value.people.mean) for figure in row.figures]


def _with_intervals(row: Row) -> _Titled:
    units = ["over people", "over questions"] if _has_few_people(row) else ["over people"]
    heads, title = ["metric", "mean", *units], f"{row.retriever} by {row.by}, with intervals"
    if row.retriever == REFERENCE:
        return _Titled(title, heads, [[figure.metric, *_estimate(figure.value)] for figure in row.figures])
    rows = [[one.metric, *_estimate(one.value), *_estimate(one.difference, "+")] for one in row.figures]
    return _Titled(title, [*heads, f"difference to {REFERENCE}", *units], rows)


def _estimate(found: Estimate | None, sign: str = "") -> Iterator[str]:
    """The mean, its interval over people, and the one over questions if there is one."""
    assert found is not None, "only the reference has no difference"
    yield _percent(found.people.mean, sign)
    yield _interval(found.people, sign)
    if found.questions:
        yield _interval(found.questions, sign)


def _interval(found: Interval, sign: str) -> str:
    if found.low is None or found.high is None:
        return "–"
    return f"[{_percent(found.low, sign)}, {_percent(found.high, sign)}]"


def _percent(value: float | None, sign: str = "") -> str:
    return "–" if value is None else f"{100 * value:{sign}.1f}"


def _cost(cost: Cost) -> list[str]:
    seconds = [f"{cost.load_seconds:.2f}", f"{cost.index_seconds:.2f}"]
    return [*seconds, f"{cost.index_bytes:,.0f}", f"{cost.search_ms:.3f}", f"{cost.search_ms_p95:.3f}"]


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(in_latex, cells)) + r" \\"
