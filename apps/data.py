"""`profilegym data show` and `data validate`: the content of a data set and its errors."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict

from rich import box
from rich.console import Console, Group
from rich.panel import Panel
from rich.progress import track
from rich.table import Table
from rich.text import Text

from .._util.counted import counted
from .._util.terminal import printable
from ..envs.data import QuestionSet, load_questions
from ..envs.question import Profile, Question, Rubric
from ..errors import DataError
from .data_summary import Problem, Spread, Summary

_SHOWN = 3  # documents of the example's profile


def show(spec: str, as_json: bool = False) -> None:
    """Print sizes, distributions, what was left out as a leak, and an example."""
    questions = _load(spec)
    summary = Summary(spec)
    for question in _each(questions):
        summary.add(question)
    if as_json:
        Console().print_json(data=summary.as_dict(), ensure_ascii=False)
    else:
        title = Text(spec, "bold")
        Console().print(title, _sizes(summary), _spreads(summary), _example(questions[0]), sep="\n")


def validate(spec: str, as_json: bool = False) -> int:
    """Read everything and report what is wrong. Returns 1 if the data cannot be used, else 0."""
    summary = Summary(spec)
    problems = _read_all(summary) + summary.problems()
    broken = any(problem.kind == "error" for problem in problems)
    if as_json:
        found = [asdict(problem) for problem in problems]
        Console().print_json(data={"data": spec, "sound": not broken, "problems": found}, ensure_ascii=False)
    else:
        Console().print(_verdict(summary, problems))
    return int(broken)


def _read_all(summary: Summary) -> list[Problem]:
    try:
        for question in _each(_load(summary.spec)):
            summary.add(question)
    except DataError as error:
        return [Problem("error", str(error), 1)]
    return []


def _load(spec: str) -> QuestionSet:
    with Console(stderr=True).status(Text(f"reading {spec}")):
        return load_questions(spec)


def _each(questions: QuestionSet) -> Iterable[Question]:
    console = Console(stderr=True)
    return track(questions, "reading questions", console=console, transient=True, disable=not console.is_terminal)


def _sizes(summary: Summary) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    for name in ("questions", "users", "documents"):
        table.add_row(name, f"{getattr(summary, name):,}")
    table.add_row("left out as leaks", _listed(summary.left_out) or "none")
    for name, counts in (("hops", summary.hops), ("category", summary.categories), ("history", summary.history)):
        if counts:
            table.add_row(name, _listed(counts))
    return table


def _listed(counts: Counter[str]) -> Text:
    return Text(printable(", ".join(f"{name}: {counts[name]:,}" for name in sorted(counts))))


def _spreads(summary: Summary) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("")
    for name in ("min", "median", "90 %", "max"):
        table.add_column(name, justify="right")
    table.add_column("from min to 99 %")
    for name, spread in summary.spreads.items():
        table.add_row(name, *(f"{value:,}" for value in _four(spread)), spread.bars())
    return table


def _four(spread: Spread) -> tuple[int, int, int, int]:
    return spread.at(0), spread.at(0.5), spread.at(0.9), spread.at(1)


def _example(question: Question) -> Group:
    asked = Text(printable(f"{question.id} by {question.user_id}" + (f", {question.date}" if question.date else "")))
    hidden = "hidden from policies, for scoring only"
    return Group(
        Panel(
            Group(Text(printable(question.text), "bold"), _documents(question.profile)), title=asked, title_align="left"
        ),
        Panel(Group(*_rubric(question.rubric)), title=hidden, title_align="left", border_style="red"),
    )


def _documents(profile: Profile) -> Table:
    table = Table.grid(padding=(0, 1))
    for document in profile.documents[:_SHOWN]:
        text = Text(printable(document.head), "cyan").append(printable(" ".join(document.text.split())), "default")
        text.truncate(220, overflow="ellipsis")
        table.add_row("•", text)
    if len(profile) > _SHOWN:
        table.add_row("", Text(f"… and {len(profile) - _SHOWN:,} more documents", "dim"))
    return table


def _rubric(rubric: Rubric) -> Iterable[Text]:
    if rubric.narrative:
        yield Text.assemble(("narrative  ", "bold"), printable(rubric.narrative))
    for aspect in rubric.aspects:
        reason = f": {aspect.reason}" if aspect.reason else ""
        yield Text.assemble(("aspect  ", "bold"), printable(aspect.title), (printable(reason), "dim"))
    if rubric.reference is not None:
        yield Text.assemble(("reference  ", "bold"), printable(rubric.reference))
    if rubric == Rubric():
        yield Text("nothing to score with", "dim")


def _verdict(summary: Summary, problems: list[Problem]) -> Group:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    colours = {"error": "red", "warning": "yellow"}
    for problem in problems:
        table.add_row(Text(problem.kind, colours[problem.kind]), _told(problem))
    broken = any(problem.kind == "error" for problem in problems)
    found = "cannot be used" if broken else f"sound, {counted(summary.questions, 'question')} read"
    head = f"{summary.spec}: {found}"
    return Group(Text(head, "bold red" if broken else "bold green"), table)


def _told(problem: Problem) -> Text:
    more = ", …" if problem.count > len(problem.examples) else ""
    seen = f": {problem.count:,} ({', '.join(problem.examples)}{more})" if problem.examples else ""
    return Text(printable(problem.what + seen))
