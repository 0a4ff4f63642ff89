"""`report.html`: a run on one page."""

import json

from .page import page, pairs, section, tag
from .run import RunDirectory


def write_report(run: RunDirectory) -> None:
    """From what the directory holds."""
    summary = json.loads((run.path / "summary.json").read_text("utf-8"))
    settings = run.settings
    title = f"{settings['agent']} with {settings['model']} on {settings['data']}"
    run.write_text("report.html", page(title, tag("h1", title), section("Figures", pairs(summary))))
