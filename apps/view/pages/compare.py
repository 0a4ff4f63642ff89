"""Two runs beside each other."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from ....errors import ProfileGymError
from ..library import TRAJECTORIES
from ..run_comparison import compare_runs
from ..site import SiteDep
from ..templating import Page

router = APIRouter()


@router.get("/compare")
def compare(site: SiteDep, a: str | None = None, b: str | None = None, page: Page = 1) -> HTMLResponse:
    found = [key for key, run in site.library.runs().items() if run.has(TRAJECTORIES)]
    latest = [*found, None, None]
    one, two = a or latest[1], b or latest[0]  # the latest beside the one before it
    values: dict[str, Any] = {"keys": found, "a": one, "b": two, "found": None, "problem": None}
    if one and two:
        first, second = site.library.find(one), site.library.find(two)
        values |= {"first": first, "second": second}
        try:
            values["found"] = compare_runs(first.index(), second.index(), page)
        except ProfileGymError as error:  # other runs can still be chosen
            values["problem"] = str(error)
    return site.show("compare.html", "Compare two runs", here="compare", **values)
