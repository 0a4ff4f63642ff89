"""The entry of a trajectory in the index."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...envs.question import Profile, Question, Rubric
from ...envs.trajectory import Trajectory
from ...errors import DataError, ProfileGymError
from ...evaluation.alarms import signs_of
from ...evaluation.late_verdicts import verdict_key
from ...evaluation.summary import place_of, score_of

COLUMNS = (
    *("id", "question_id", "user_id", "attempt", "kind", "agent", "model", "judge", "score", "baseline", "gain"),
    *("reward", "advantage", "hops", "category", "searches", "malformed", "ended", "parent"),
    *("judged", "late"),  # a hash of what was judged; whether the score is a later verdict
)


_CACHED = 20_000  # questions


@dataclass(frozen=True, slots=True)
class Entry:
    """A value for each column, the text that can be searched (question, queries, answer), and its marks."""

    values: tuple[Any, ...]
    words: tuple[str, str, str]
    marks: tuple[str, ...]


class Entries:
    """Makes entries. Columns about a question are empty if it cannot be loaded."""

    def __init__(self, find: Callable[[Trajectory], Question], max_searches: int) -> None:
        self._max_searches = max_searches
        self._find = find
        self._asked: dict[tuple[str | None, str], Question] = {}

    def __call__(self, trajectory: Trajectory) -> Entry:
        question, score = self._question(trajectory), score_of(trajectory)
        baseline = (trajectory.baseline or {}).get("score")
        gain = None if score is None or baseline is None else score - baseline
        reward, verdict = trajectory.reward, trajectory.verdict
        values = (
            *(trajectory.id, trajectory.question_id, trajectory.user_id, place_of(trajectory)[1], trajectory.kind),
            *(trajectory.agent, trajectory.model, verdict and verdict.judge, score, baseline, gain),
            *(reward and reward.total, trajectory.advantage, question.rubric.hops, question.category),
            *(len(trajectory.search_ms), trajectory.malformed, trajectory.ended, (trajectory.parent or {}).get("id")),
            *(verdict_key(trajectory)[1], 0),
        )
        queries = "\n".join(trajectory.search_fields[1::3])
        words = _storable(question.text), _storable(queries), _storable(trajectory.answer or "")
        return Entry(
            tuple(map(_plain, values)), words, (*trajectory.flags, *signs_of(trajectory, question, self._max_searches))
        )

    def _question(self, trajectory: Trajectory) -> Question:
        """Without the profile, so that many fit in memory."""
        key = trajectory.data, trajectory.question_id
        if key not in self._asked:
            if len(self._asked) >= _CACHED:
                self._asked.clear()
            self._asked[key] = _without_profile(self._find, trajectory)
        return self._asked[key]


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return _storable(value)
    if value is None or isinstance(value, int | float):
        return value
    raise DataError(f"a {type(value).__name__} stands where text or a number should")


def _storable(text: str) -> str:
    """SQLite cannot store lone surrogates."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _without_profile(find: Callable[[Trajectory], Question], trajectory: Trajectory) -> Question:
    nobody = Profile("", ())
    try:
        question = find(trajectory)
    except (ProfileGymError, OSError):
        return Question(trajectory.question_id, "", "", nobody)
    hops = Rubric(hops=question.rubric.hops)
    return Question(question.id, question.user_id, question.text, nobody, hops, question.category)
