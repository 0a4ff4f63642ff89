"""Verdicts given after a run: `verdicts.jsonl`, which is only appended to and fills the gaps in the trajectories."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

from .._util.jsonl import LineWriter
from ..envs.reward import Reward, Verdict
from ..envs.trajectory import Trajectory, verdict_of, verdict_record
from .run import RunDirectory
from .summary import score_of

FILE = "verdicts.jsonl"
BROKEN = (ValueError, TypeError, KeyError, AttributeError, RecursionError)  # of a line that is no verdict
Key = tuple[str, str]  # a trajectory's id, and the hash of what was judged


@dataclass(frozen=True, slots=True)
class LateVerdict:
    """A judge's verdict on a trajectory's answer, or why there is none.

    `own`: whether this is the run's own judge, whose verdict fills a missing one.
    """

    id: str
    answer: str  # the hash of question id and answer, so that a reused id never gets another answer's verdict
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
    """Appends one line per verdict."""

    def __init__(self, run: Path) -> None:
        super().__init__(run / FILE)

    def write(self, verdict: LateVerdict) -> None:
        self.append(verdict.to_json())


def verdict_key(trajectory: Trajectory) -> Key:
    judged = f"{trajectory.question_id}\0{trajectory.answer or ''}"
    return trajectory.id, blake2b(judged.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def read_verdicts(run: Path) -> dict[Key, list[LateVerdict]]:
    """Late verdicts by trajectory, oldest first, without failures."""
    found: dict[Key, list[LateVerdict]] = defaultdict(list)
    for late in _lines(run / FILE):
        if late.verdict is not None:
            found[late.key].append(late)
    return dict(found)


def filling_verdict(trajectory: Trajectory, later: Mapping[Key, Sequence[LateVerdict]]) -> LateVerdict | None:
    """The newest verdict by the run's own judge; None where there is a score already, be it a metric's."""
    if score_of(trajectory) is not None:
        return None
    return next((one for one in reversed(later.get(verdict_key(trajectory), ())) if one.own), None)


def with_late_verdicts(run: RunDirectory, trajectories: Iterable[Trajectory]) -> Iterator[Trajectory]:
    """The trajectories; a missing score is filled with the newest late verdict by the run's own judge.

    A reward that is only the score is filled in, too; for any other, the score becomes a part and the total stays None.
    """
    later, only_score = read_verdicts(run.path), _is_only_the_score(run.settings.get("reward"))
    for trajectory in trajectories:
        late = filling_verdict(trajectory, later)
        yield _filled(trajectory, late.verdict, only_score) if late and late.verdict else trajectory


def _is_only_the_score(reward: object) -> bool:
    return reward is None or str(reward).partition(":")[0] in ("rubric", "score")


def _filled(trajectory: Trajectory, verdict: Verdict, only_score: bool) -> Trajectory:
    """A copy with the verdict; known parts of the reward stay."""
    old = trajectory.reward or Reward(None)
    if only_score:
        reward = Reward(verdict.score, {"score": verdict.score}, verdict, flags=old.flags)
    else:
        parts = {**old.parts, "score": verdict.score}
        reward = Reward(None, parts, verdict, "scored later; the other parts of the reward are not known", old.flags)
    return replace(trajectory, verdict=verdict, reward=reward)


def _lines(path: Path) -> Iterator[LateVerdict]:
    """Skips lines that a killed process left incomplete: rejudging asks about them again."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                yield LateVerdict.from_json(line.decode())
            except BROKEN:
                continue
