"""A run on one page."""

import asyncio
from pathlib import Path

from profilegym.evaluation.evaluate import Settings, evaluate
from profilegym.evaluation.page import page, tag
from profilegym.evaluation.report import write_report
from profilegym.evaluation.run import RunDirectory


def test_text_from_outside_is_never_markup() -> None:
    hostile = "</p><script>alert('&')</script>\x1b\u202e\ud800"

    shown = page(hostile, tag("p", hostile, class_=f'"{hostile}'))

    assert "<script" not in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert shown.encode()
    assert 'class="&quot;&lt;/p&gt;' in shown


def test_a_report_is_written_from_a_run(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    asyncio.run(evaluate(Settings(model="scripted:oracle", data="world:seed=7,users=20/test", limit=4), run))

    write_report(run)

    assert "scripted:oracle" in (tmp_path / "report.html").read_text("utf-8")
