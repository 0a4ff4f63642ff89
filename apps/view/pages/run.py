"""One run: its figures, curves and settings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from ....training.grpo.resuming import EVALUATIONS
from ....training.report.comparison import TRAINED, UNTRAINED
from ..figures import HEIGHT, WIDTH, card_of, cards_of, metrics_of
from ..index import Progress
from ..library import TRAJECTORIES, Run
from ..play_options import flat
from ..site import SiteDep
from ..templating import follow_values

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Pair:
    """What the policy played on a test set before training, and after it."""

    test: str
    before: Run
    after: Run


@router.get("/run/{key}")
def run(site: SiteDep, key: str) -> HTMLResponse:
    chosen = site.library.find(key)
    shown, within = site.library.last_stage(chosen) or chosen, site.library.within(chosen)
    follow, card = follow_values(shown), card_of(site.library, chosen)
    progress = shown.index(seconds=0).progress if shown.has(TRAJECTORIES) else Progress()
    alarms = [alarm for alarm in (shown.summary or {}).get("alarms", []) if alarm.get("raised")]
    return site.show(
        "run.html", chosen.key, here="run", run=chosen, card=card, progress=progress, alarms=alarms,
        pairs=list(_pairs(chosen, within)), within=cards_of(site.library, within)[0],
        settings=flat(chosen.settings), metrics=metrics_of(shown), width=WIDTH, height=HEIGHT, **follow,
    )  # fmt: skip


def _pairs(run: Run, within: Sequence[Run]) -> Iterator[Pair]:
    """Named by the test set, and by the stage where the run has several."""
    by_path = {one.path: one for one in within}
    for path, after in by_path.items():
        test, before = path.parent, by_path.get(path.with_name(UNTRAINED))
        if path.name == TRAINED and test.parent.name == EVALUATIONS and before is not None:
            stages = test.parent.parent.relative_to(run.path).parts
            yield Pair(", ".join([test.name, *stages]), before, after)
