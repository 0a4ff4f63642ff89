"""`profilegym check`: contract tests of plug-ins, and whether a run is deterministic."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from .._util.keys import hidden
from .._util.terminal import printable
from ..envs.retrieval import make_retriever
from ..testing.kit import CheckResult, examine
from ..testing.retriever_comparison import Comparison, compare

if TYPE_CHECKING:
    from ..evaluation.determinism import Repetition
    from ..evaluation.evaluate import Settings

_NAME_WIDTH = 20  # of the longest name of a check


def check_retriever(spec: str, as_json: bool = False) -> int:
    """Print a retriever's results in its contract tests. Returns 1 if one fails, else 0; so do all functions here."""
    from ..testing.retriever import CHECKS

    retriever, spec = make_retriever(spec), hidden(spec)
    console = Console(quiet=as_json)
    findings = _card(console, "retriever", spec, examine(retriever, CHECKS))
    passed = all(finding.passed for finding in findings)
    comparison = compare(retriever) if passed else None  # figures of a broken retriever mean nothing
    console.print(_information(comparison), _grade(findings), sep="\n")
    if as_json:
        beside = asdict(comparison) if comparison else None
        Console().print_json(data=_as_dict("retriever", spec, findings) | {"beside_bm25": beside})
    return 0 if passed else 1


def check_tool(spec: str, as_json: bool = False, data: str | None = None) -> int:
    """A server's tools are checked one after the other. With `data`, the users are those of a data set."""
    from ..envs.data import load_questions
    from ..envs.tools.toolset import tools_of
    from ..testing.tool import CHECKS, ON_DATA, ToolOnData, people_of

    people = None if data is None else people_of(load_questions(data))
    console, reports, tools = Console(quiet=as_json), [], tools_of(spec)
    for tool in tools:
        name = hidden(spec if len(tools) == 1 else f"{tool.name} of {spec}")
        findings = examine(ToolOnData(tool, people), ON_DATA) if people else examine(tool, CHECKS)
        found = _card(console, "tool", name, findings)
        console.print(_grade(found))
        reports.append(_as_dict("tool", name, found))
    if as_json:
        Console().print_json(data=reports[0] if len(reports) == 1 else reports)
    return 0 if all(report["passed"] for report in reports) else 1


def check_reward(spec: str, as_json: bool = False) -> int:
    from ..rewards import make_reward
    from ..testing.reward import CHECKS

    return _report("reward", spec, examine(make_reward(spec), CHECKS), as_json)


def check_agent(spec: str, as_json: bool = False) -> int:
    from ..agents.agent import make_agent
    from ..testing.agent import CHECKS

    return _report("agent", spec, examine(make_agent(spec), CHECKS), as_json)


def check_judge(spec: str, as_json: bool = False) -> int:
    from ..rewards.registry import make_judge
    from ..testing.judge import CHECKS

    return _report("judge", spec, examine(make_judge(spec), CHECKS), as_json)


def check_model(spec: str, as_json: bool = False) -> int:
    from ..agents.models.model import make_model
    from ..testing.model import CHECKS

    return _report("model", spec, examine(make_model(spec), CHECKS), as_json)


def check_determinism(settings: "Settings", as_json: bool = False) -> int:
    """Print whether the same settings give the same trajectories."""
    from ..evaluation.determinism import repeat

    console = Console(quiet=as_json)
    asked = hidden(f"{settings.agent} with {settings.model} on {settings.data}")
    console.print(Text(f"Playing {asked} twice, in processes of their own …", "dim"))
    found = repeat(settings)
    console.print(*_repetition(found), sep="\n")
    if as_json:
        Console().print_json(data=asdict(found), ensure_ascii=False)
    return 0 if found.difference is None else 1


def _repetition(found: "Repetition") -> Iterator[Text]:
    difference = found.difference
    if difference is None:
        order = "in the same order" if found.ordered else "but ended in another order"
        yield Text(f"✓ {found.episodes} episodes are the same, timings aside, {order}.", "bold green")
        return
    yield Text(f"✗ {printable(difference.episode)} is not the same twice: {difference.place}", "bold red")
    yield Text(f"  first:  {printable(difference.first)}")
    yield Text(f"  second: {printable(difference.second)}")


def _report(kind: str, spec: str, findings: Iterable[CheckResult], as_json: bool) -> int:
    console = Console(quiet=as_json)
    found = _card(console, kind, hidden(spec), findings)
    console.print(_grade(found))
    if as_json:
        Console().print_json(data=_as_dict(kind, hidden(spec), found))
    return 0 if all(finding.passed for finding in found) else 1


def _card(console: Console, kind: str, spec: str, findings: Iterable[CheckResult]) -> list[CheckResult]:
    """Print each result as soon as it is known."""
    console.print(Text(f"Report card of the {kind} {spec}\n", "bold"))
    shown = []
    for finding in findings:
        console.print(_line(finding))
        shown.append(finding)
    return shown


def _line(finding: CheckResult) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column(width=_NAME_WIDTH)
    grid.add_column(overflow="fold")
    mark = Text("✓", "bold green") if finding.passed else Text("✗", "bold red")
    grid.add_row(mark, Text(finding.check.name, "bold"), _words(finding))
    return grid


def _words(finding: CheckResult) -> Group:
    promise = Text(finding.check.promise)
    if finding.counterexample is None:
        return Group(promise)
    # Text, so that a document or an error is not read as markup.
    broken = Text(f"But {hidden(finding.counterexample)}.", "red")
    return Group(promise, broken, Text(f"To fix it: {finding.check.fix}", "yellow"))


def _information(comparison: Comparison | None) -> Text:
    if comparison is None:
        return Text("\nNot compared with bm25, as a check failed.", "dim")
    return Text(
        f"\nFor information: {comparison.found} of {comparison.planted} planted documents were in the top 3; "
        f"a search took {comparison.median_ms:.3f} ms (median; bm25: {comparison.bm25_median_ms:.3f} ms); "
        f"{comparison.agreement:.0%} of bm25's top 10 were in this top 10."
    )


def _grade(findings: list[CheckResult]) -> Text:
    broken = [finding.check.name for finding in findings if not finding.passed]
    kept = f"\nGrade: {len(findings) - len(broken)} of {len(findings)} promises kept"
    if broken:
        return Text(f"{kept}. Not fit for use yet: {', '.join(broken)}.", "bold red")
    return Text(f"{kept}. Fit for training and evaluation.", "bold green")


def _as_dict(kind: str, spec: str, findings: list[CheckResult]) -> dict[str, Any]:
    return {
        kind: spec,
        "passed": all(finding.passed for finding in findings),
        "checks": [
            {
                "name": finding.check.name,
                "promise": finding.check.promise,
                "passed": finding.passed,
                "counterexample": finding.counterexample and hidden(finding.counterexample),
                "fix": None if finding.passed else finding.check.fix,
                "seconds": round(finding.seconds, 4),
            }
            for finding in findings
        ],
    }
