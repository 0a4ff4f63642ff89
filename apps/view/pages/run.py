"""One run: its figures, curves and settings."""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from ..figures import HEIGHT, WIDTH, card_of, metrics_of
from ..index import Progress
from ..library import TRAJECTORIES
from ..play_options import flat
from ..site import SiteDep
from ..templating import follow_values

router = APIRouter()


@router.get("/run/{key}")
def run(site: SiteDep, key: str) -> HTMLResponse:
    chosen = site.library.find(key)
    follow, card = follow_values(chosen), card_of(chosen)
    progress = chosen.index(seconds=0).progress if chosen.has(TRAJECTORIES) else Progress()
    alarms = [alarm for alarm in (chosen.summary or {}).get("alarms", []) if alarm.get("raised")]
    return site.show(
        "run.html", chosen.key, here="run", run=chosen, card=card, progress=progress, alarms=alarms,
        settings=flat(chosen.settings), metrics=metrics_of(chosen), width=WIDTH, height=HEIGHT, **follow,
    )  # fmt: skip
