"""One run: what it came to, its curves, and all that was asked for."""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from ..choice import flat
from ..figures import HEIGHT, WIDTH, card_of, metrics_of
from ..index import Progress
from ..library import TRAJECTORIES
from ..news import following
from ..site import Here

at = APIRouter()


@at.get("/run/{key}")
def run(site: Here, key: str) -> HTMLResponse:
    chosen = site.library.find(key)
    news, card = following(chosen), card_of(chosen)
    progress = chosen.index(seconds=0).progress if chosen.has(TRAJECTORIES) else Progress()
    alarms = [alarm for alarm in (chosen.summary or {}).get("alarms", []) if alarm.get("raised")]
    return site.show(
        "run.html", chosen.key, here="run", run=chosen, card=card, progress=progress, alarms=alarms,
        settings=flat(chosen.settings), metrics=metrics_of(chosen), width=WIDTH, height=HEIGHT, **news,
    )  # fmt: skip
