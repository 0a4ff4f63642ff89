"""Verdicts that came after a run: `verdicts.jsonl`, which stands beside its trajectories and is only added to."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

from .._util.jsonl import LineWriter
from ..envs.reward import Verdict
from ..envs.trajectory import Trajectory, verdict_of, verdict_record

FILE = "verdicts.jsonl"
Key = tuple[str, str]  # a trajectory's id, and the hash of what was judged


@dataclass(frozen=True, slots=True)
class LateVerdict:
    """What a judge said of a trajectory's answer, or why it said nothing.

    `own` tells that this is the judge of the run itself, whose verdict fills the place of one that was missing.
    """

    id: str
    answer: str  # the hash of question id and answer: an id that comes twice can't be given another answer's verdict
    judge: str
    own: bool
    verdict: Verdict | None
    unscored: str | None
    at: str

    @property
    def key(self) -> Key:
        return self.id, self.answer

    def to_json(self) -> str:
        record = asdict(self) | {"verdict": verdict_record(self.verdict)}
        return json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Self:
        record: dict[str, Any] = json.loads(line)
        return cls(**record | {"verdict": verdict_of(record["verdict"])})


class VerdictWriter(LineWriter):
    """Appends one line a verdict."""

    def __init__(self, run: Path) -> None:
        super().__init__(run / FILE)

    def write(self, verdict: LateVerdict) -> None:
        self.append(verdict.to_json())


def key_of(trajectory: Trajectory) -> Key:
    judged = f"{trajectory.question_id}\0{trajectory.answer or ''}"
    return trajectory.id, blake2b(judged.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def verdicts_of(run: Path) -> dict[Key, list[LateVerdict]]:
    """Those that hold a verdict, by trajectory, oldest first."""
    found: dict[Key, list[LateVerdict]] = defaultdict(list)
    for late in _lines(run / FILE):
        if late.verdict is not None:
            found[late.key].append(late)
    return dict(found)


def healing(late: Sequence[LateVerdict]) -> LateVerdict | None:
    """The newest one of the run's own judge."""
    return next((one for one in reversed(late) if one.own), None)


def _lines(path: Path) -> Iterator[LateVerdict]:
    """Without those that a kill left half written: what they told is asked again."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                yield LateVerdict.from_json(line.decode())
            except (ValueError, TypeError, KeyError):
                continue
