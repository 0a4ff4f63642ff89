"""Rubrics of data sets that give one reference answer and the evidence for it."""

from ..question import Aspect, HistoryUse, Rubric

AGREES = "Agrees with the reference answer"
DECLINES = "Says that the history does not tell"


def reference_rubric(
    reference: str | None,
    history: HistoryUse,
    documents: tuple[str, ...],
    sessions: tuple[str, ...],
    unresolved: tuple[str, ...] = (),
    rejected: tuple[str, ...] = (),
) -> Rubric:
    """One aspect: the answer agrees with the reference, or declines where the question cannot be answered."""
    aspect = Aspect(
        title=DECLINES if history == "unanswerable" else AGREES,
        evidence=reference or "",
        rejected=rejected,
        documents=documents,
        sessions=sessions,
        unresolved=unresolved,
    )
    return Rubric(aspects=(aspect,), reference=reference, history=history)
