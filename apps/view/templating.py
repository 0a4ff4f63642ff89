"""Templates of the pages: rendering, addresses, and how an open page follows a run."""

from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import Path, Query
from fastapi.responses import HTMLResponse

from ...evaluation import intervals
from . import filters as filters
from .library import Run

File = Literal["trajectories", "branches"]
Row = Annotated[int, Path(ge=1, lt=1 << 53)]
Page = Annotated[int, Query(ge=1, lt=1 << 31)]


class Show:
    """Renders templates."""

    def __init__(self) -> None:
        self._templates = filters.environment()
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


def trajectory_path(run: Run, file: str, row: int) -> str:
    """The address of a trajectory."""
    return f"{path(run)}/{file}/{row}"


def stamp_of(*runs: Run, seconds: float = 0.0) -> str:
    """Changes as soon as a page of these runs has something new to show."""
    return "".join(f"{run.key} {run.stamp} {run.indexed(seconds)};" for run in runs)


def follow_values(run: Run) -> dict[str, Any]:
    """Template values of a page that follows a run. Taken before the page is made, so that no change is missed."""
    return {"follow": f"/state?run={quote(run.key, safe='')}", "stamp": stamp_of(run)}


def reach(found: intervals.Interval | None) -> str:
    """An interval with its number of people and of values."""
    return f"{intervals.reach(found)} of {filters.count(found.n)}" if found and found.mean is not None else ""
