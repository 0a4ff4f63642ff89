"""Signs that a search agent degenerates, most of which show before the score falls."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from ...envs.question import Question
from ...envs.trajectory import Trajectory
from ...evaluation.alarms import Alarms

_STEPS = 5  # that are looked at together: one step of a few groups says little
_PATIENCE = 3  # looks in a row at which the same sign of collapse must show before a run is stopped
_ENTROPY = 0.1  # of what it was at first: the policy says one thing only
_LENGTH = 2.5  # times what it was at first
_FALL = 0.15  # of the score, below its best: what a step's noise does not explain at a few dozen episodes
COLLAPSE = ("entropy", "length", "score", "forged information", "malformed", "truncated", "never searches")


@dataclass
class Watch:
    """Takes each step's episodes and metrics, and says which signs show now."""

    find: Callable[[str], Question]
    max_searches: int
    _episodes: deque[Sequence[Trajectory]] = field(default_factory=lambda: deque(maxlen=_STEPS))
    _metrics: list[Mapping[str, float]] = field(default_factory=list)
    _lasting: dict[str, int] = field(default_factory=dict)
    _at_first: set[str] | None = None  # what was so before anything was learned is no collapse

    def look(self, played: Sequence[Trajectory], metrics: Mapping[str, float]) -> dict[str, str]:
        """The names of the signs that show, each with what it means."""
        self._episodes.append([trajectory for trajectory in played if trajectory.kind == "personalised"])
        self._metrics.append(metrics)
        if len(self._episodes) < _STEPS:
            return {}
        found = self._in_episodes() | self._in_metrics()
        self._at_first = set(found) if self._at_first is None else self._at_first & set(found)
        self._lasting = {name: self._lasting.get(name, 0) + 1 for name in found if name not in self._at_first}
        return found

    @property
    def collapsed(self) -> list[str]:
        """Signs of collapse that do not go away."""
        return [name for name in COLLAPSE if self._lasting.get(name, 0) >= _PATIENCE]

    def _in_episodes(self) -> dict[str, str]:
        alarms = Alarms(self.max_searches)
        for step in self._episodes:
            for trajectory in step:
                alarms.add(trajectory, self.find(trajectory.question_id))
        return {alarm.name: alarm.meaning for alarm in alarms.report() if alarm.raised}

    def _in_metrics(self) -> dict[str, str]:
        entropy, length, score = (self._first_best_last(name) for name in ("entropy", "policy_tokens", "score"))
        found: dict[str, str] = {}
        if entropy and entropy[2] < _ENTROPY * entropy[0]:
            found["entropy"] = f"Entropy fell from {entropy[0]:.2f} to {entropy[2]:.2f}: the policy explores no more."
        if length and length[2] > _LENGTH * length[0]:
            found["length"] = (
                f"Episodes grew from {length[0]:.0f} to {length[2]:.0f} tokens of the policy: does it ramble?"
            )
        if score and score[2] < score[1] - _FALL:
            found["score"] = f"The score fell from {score[1]:.2f} to {score[2]:.2f}: go back to the best checkpoint."
        return found

    def _first_best_last(self, name: str) -> tuple[float, float, float] | None:
        """Of the means over as many steps as are looked at together."""
        values = [metrics[name] for metrics in self._metrics if name in metrics]
        means = [fmean(values[end - _STEPS : end]) for end in range(_STEPS, len(values) + 1)]
        return (means[0], max(means), means[-1]) if means else None
