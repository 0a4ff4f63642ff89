"""Fills the templates of the pages."""

from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import Path, Query
from fastapi.responses import HTMLResponse

from ...evaluation import intervals
from . import filters as look
from .library import Run

File = Literal["trajectories", "branches"]
Row = Annotated[int, Path(ge=1, lt=1 << 53)]
Page = Annotated[int, Query(ge=1, lt=1 << 31)]


class Show:
    """Fills the templates."""

    def __init__(self) -> None:
        self._templates = look.environment()
        self._templates.filters |= {"path": path, "reach": reach}

    def __call__(self, template: str, title: str, **values: Any) -> HTMLResponse:
        return HTMLResponse(self.text(template, title=title, **{"here": "", **values}))

    def text(self, template: str, **values: Any) -> str:
        text: str = self._templates.get_template(template).render(**values)
        return text

    def problem(self, status: int, title: str, problem: str, advice: str = "") -> HTMLResponse:
        text = self.text("error.html", title=title, here="", problem=problem, advice=advice)
        return HTMLResponse(text, status)


def path(run: Run) -> str:
    return f"/run/{quote(run.key, safe='')}"


def place(run: Run, file: str, row: int) -> str:
    """The address of a trajectory."""
    return f"{path(run)}/{file}/{row}"


def reach(found: intervals.Interval | None) -> str:
    """The interval and the number of people, and of how many values it is."""
    return f"{intervals.reach(found)} of {look.count(found.n)}" if found and found.mean is not None else ""
