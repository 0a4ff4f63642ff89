"""The curves of `docs/results-llm.md`: what the rollouts of the main recipes find, step by step."""

from collections.abc import Iterator, Sequence
from statistics import fmean

from ..training.report.curves import Curve, Panel, Point, smoothed
from .llm_arms import LOCOMO, LOCOMO_RAG, WORLD, WORLD_RAG
from .llm_records import Record
from .llm_runs import Bench

_REWARD = "reward of the rollouts (evidence + 0.2 F1 + 0.2 structure)"
_DRAWN = {
    WORLD: {"score": "PR2 on the world: score of the rollouts", "searches": "PR2 on the world: searches of a rollout"},
    WORLD_RAG: {"score": "One-shot RAG on the world: score of the rollouts"},
    LOCOMO: {"score": f"PR2 on LoCoMo: {_REWARD}"},
    LOCOMO_RAG: {"score": f"One-shot RAG on LoCoMo: {_REWARD}"},
}


def panels(bench: Bench) -> dict[str, Panel]:
    """By the name of its picture, each figure of a recipe: a curve for each seed or fold."""
    found = {}
    for name, titles in _DRAWN.items():
        records = {run.number: record for run, record in bench.records(name) if record.rollouts}
        for figure, title in titles.items() if records else ():
            found[f"{name}-{figure}"] = Panel(title, "", tuple(_curves(name, figure, records)))
    return found


def pictures(bench: Bench) -> str:
    """The pictures, as the page shows them."""
    shown = (f"{panel.title}.\n\n![{panel.title}](results-llm/{name}.svg)" for name, panel in panels(bench).items())
    return "\n\n".join(shown) or "No curves yet."


def _curves(name: str, figure: str, records: dict[int, Record]) -> Iterator[Curve]:
    watched = name in (WORLD, WORLD_RAG)  # LoCoMo's evaluations have no reward
    kind = "seed" if watched else "fold"
    for number, record in records.items():
        seen = ((float(step), found[figure]) for step, found in record.curve.items() if figure in found and watched)
        yield _curve(f"{kind} {number}", record.rollouts[figure], tuple(seen))
    if figure == "score":
        without = zip(*(record.rollouts["baseline"] for record in records.values()), strict=False)
        yield _curve("no profile", [_mean(found) for found in without])


def _curve(name: str, values: Sequence[float | None], seen: tuple[Point, ...] = ()) -> Curve:
    points = tuple((float(step), value) for step, value in enumerate(values, 1) if value is not None)
    return Curve(name, points, smoothed(points), seen)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
