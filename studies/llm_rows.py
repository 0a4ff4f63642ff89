"""What the tables of `docs/results-llm.md` share: their rows, and how their cells are written."""

from dataclasses import dataclass, replace

from ..evaluation.intervals import Interval
from ..evaluation.multi_seed import BySeed
from ..training.report.comparison import TRAINED
from .page import UNKNOWN, figure


@dataclass(frozen=True, slots=True)
class Who:
    """A row of a table: an arm's contender, or a trial."""

    name: str
    arm: str
    who: str = TRAINED


def pooled(played: BySeed) -> BySeed:
    """All folds as one run, each question on its own: an interval is then over questions."""
    found = {name: replace(one, user=name) for by_question in played.values() for name, one in by_question.items()}
    return {0: found} if found else {}


def count(played: BySeed) -> str:
    return f"{len(played)}, {sum(len(by_question) for by_question in played.values()):,}"


def shown(found: Interval, sign: str = "") -> str:
    return UNKNOWN if found.mean is None else figure(found, sign)
