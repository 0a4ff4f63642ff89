"""The table of a run's trajectories, or of its branches."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from ..news import following
from ..show import File
from ..site import Here
from ..table import View, choices, page_of

at = APIRouter()


@at.get("/run/{key}/{file}")
def table(request: Request, site: Here, key: str, file: File) -> HTMLResponse:
    chosen, view = site.library.find(key), View.of(request.query_params)
    title = f"{'Branches' if file == 'branches' else 'Trajectories'} of {key}"
    news = following(chosen)
    if not chosen.has(file):
        return site.show("nothing.html", title, here=file, run=chosen, file=file, **news)
    index = chosen.index(file)
    bad = index.ask("SELECT count(*) AS n FROM bad")[0]["n"]
    return site.show(
        "trajectories.html", title, here=file, run=chosen, file=file, view=view, progress=index.progress, bad=bad,
        page=page_of(index, view), choices=choices(index), **news,
    )  # fmt: skip
