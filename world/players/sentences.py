"""Reasoning in sentences that each begin by saying what they do, as scripted players write it and as they label it."""

from collections.abc import Iterable, Sequence
from itertools import groupby

_DOES = {  # how a sentence begins, and which of TagPR's tags it is
    "I am asked": "understand_task",
    "A post says": "examine_examples",
    "So it is": "infer_preference",
    "No post says": "check_consistency",
    "I name": "compose_answer",
}


def labels(sentences: Iterable[str]) -> list[str | None]:
    """The tag of each; one that says nothing of itself goes on with what the one before does."""
    found: list[str | None] = []
    for sentence in sentences:
        begins = next((tag for words, tag in _DOES.items() if sentence.startswith(words)), None)
        found.append(begins or (found[-1] if found else None))
    return found


def in_steps(sentences: Sequence[str]) -> str:
    """Each row of sentences that do the same, in its tag."""
    rows = groupby(zip(labels(sentences), sentences, strict=True), key=lambda pair: pair[0])
    return "\n".join(f"<{tag}>{' '.join(sentence for _, sentence in row)}</{tag}>" for tag, row in rows)
