"""The table of a run's trajectories, or of its branches."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from ..site import SiteDep
from ..table import View, choices, page_of
from ..templating import File, follow_values

router = APIRouter()


@router.get("/run/{key}/{file}")
def table(request: Request, site: SiteDep, key: str, file: File) -> HTMLResponse:
    chosen, view = site.library.find(key), View.of(request.query_params)
    title = f"{'Branches' if file == 'branches' else 'Trajectories'} of {key}"
    follow = follow_values(chosen)
    if not chosen.has(file):
        return site.show("empty.html", title, here=file, run=chosen, file=file, **follow)
    index = chosen.index(file)
    bad = index.ask("SELECT count(*) AS n FROM bad")[0]["n"]
    return site.show(
        "trajectories.html", title, here=file, run=chosen, file=file, view=view, progress=index.progress, bad=bad,
        page=page_of(index, view), choices=choices(index), **follow,
    )  # fmt: skip
