"""`profilegym judge audit`: how reliable a judge is, on the terminal and as HTML."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.text import Text

from .._util.counted import counted
from .._util.terminal import printable
from ..envs.data import load_questions
from ..evaluation.intervals import BRACKETS
from ..evaluation.judge_audit.audit import Audit, audit
from ..evaluation.judge_audit.findings import Finding, findings
from ..evaluation.judge_audit.page import audit_page
from ..evaluation.judging import judge_all
from ..rewards.registry import make_judge
from .rejudge import INTERRUPTED, bar, judging_on

_REASONS = 5


def run_audit(judge: str, data: str, limit: int, out: Path | None, as_json: bool = False, on: str | None = None) -> int:
    """Returns 0, 1 if the judge gave no verdict at all, 130 if interrupted."""
    errors, made, questions = Console(stderr=True), make_judge(judge), load_questions(data)
    judging = judge_all if on is None else judging_on(on, judge)
    try:
        with bar(errors, f"trying {made.name}") as progress:
            found = asyncio.run(audit(made, questions, limit, progress.tell, judging))
    except KeyboardInterrupt:
        errors.print("stopped; with a cache in the judge's spec, …,cache=FILE, the same command goes on from there")
        return INTERRUPTED
    if out is not None:
        _write(found, out)
    if as_json:
        Console().print_json(data=asdict(found), ensure_ascii=False)
    else:
        _report(found, out)
    return int(found.unscored.mean == 1.0)


def _write(found: Audit, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "audit.json").write_text(json.dumps(asdict(found), ensure_ascii=False, indent=2) + "\n", "utf-8")
    (out / "audit.html").write_text(audit_page(found), "utf-8")


def _report(found: Audit, out: Path | None) -> None:
    console = Console(highlight=False, markup=False)
    console.print(Text(printable(f"The judge {found.judge} on {found.data}"), "bold"))
    asked = f"{counted(found.questions, 'question')} of {counted(found.users, 'user')}"
    console.print(f"{asked}, {counted(found.judged, 'judgement')}")
    console.print(f"{BRACKETS}\n", soft_wrap=True)
    for one in findings(found):
        console.print(_line(one), soft_wrap=True)
    for success in found.successes[:_REASONS]:
        told = ", ".join(success.flags) or "nothing"
        console.print(f"attack {success.id} gained {success.gained:+.3f}, reported as {told}", soft_wrap=True)
    for reason, count in list(found.reasons.items())[:_REASONS]:
        console.print(printable(f"{count} unscored: {reason}"), soft_wrap=True)
    if out is not None:
        console.print(f"{out / 'audit.html'}", soft_wrap=True)


def _line(one: Finding) -> Text:
    """The figure, with its meaning below, for narrow terminals."""
    head = f"{printable(one.name):<26}{one.value:>9}  {one.beside}"
    return Text.assemble((head, "bold"), (f"\n    {one.told}", "dim"))
