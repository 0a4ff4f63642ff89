"""What a run came to: means with intervals over people; what is not scored is counted, never averaged in."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..envs.question import Question
from ..envs.trajectory import Trajectory
from .compliance import compliance
from .intervals import mean

_SAME = 1e-9  # scores closer than this are equal
Place = tuple[str, str]  # question and attempt
FIGURES = (  # metric, what it is called, digits
    ("score", "score", 3),
    ("baseline", "without profile", 3),
    ("gain", "gain", 3),
    ("helped", "helped", 2),
    ("unchanged", "unchanged", 2),
    ("hurt", "hurt", 2),
    ("searches", "searches", 2),
    ("evidence", "evidence", 3),
    ("structure", "structure", 3),
    ("compliance", "keeps its form", 3),
    ("interventions", "interventions", 2),
    ("malformed", "malformed", 2),
    ("prompt_tokens", "tokens read", 0),
    ("completion_tokens", "tokens written", 0),
    ("seconds", "seconds", 2),
)
FRACTIONS = {"score", "baseline", "helped", "unchanged", "hurt", "evidence", "structure", "compliance"}  # from 0 to 1


@dataclass
class Group:
    """Values by metric and by user: questions of one person are no independent draws, so intervals are over people."""

    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, metric: str, user: str, value: float | None) -> None:
        if value is not None:
            self.values.setdefault(metric, {}).setdefault(user, []).append(float(value))

    def means(self) -> dict[str, Any]:
        return {metric: mean(by_user, metric in FRACTIONS).as_dict() for metric, by_user in self.values.items()}


def summarise(trajectories: Callable[[], Iterable[Trajectory]], find: Callable[[str], Question]) -> dict[str, Any]:
    """`trajectories` is read twice, and never held; `find` gives a question by its id.

    The figures are those of the personalised episodes, or of the baselines where there is nothing else.
    """
    baselines = {place_of(t): score_of(t) for t in trajectories() if t.kind == "baseline"}
    count = Count()
    for trajectory in trajectories():
        count.add(trajectory, find(trajectory.question_id), baselines)
    return count.summary()


class Count:
    """Adds up a run, its personalised episodes apart from its baselines."""

    def __init__(self) -> None:
        self._kinds = {kind: Kept() for kind in ("personalised", "baseline")}

    def add(self, trajectory: Trajectory, question: Question, baselines: Mapping[Place, float | None]) -> None:
        self._kinds[trajectory.kind].add(trajectory, question, baselines if trajectory.kind == "personalised" else {})

    def summary(self) -> dict[str, Any]:
        personalised, baseline = self._kinds["personalised"], self._kinds["baseline"]
        if not personalised.episodes:
            return baseline.summary()
        return personalised.summary() | {"baseline_unscored": baseline.unscored.as_dict()}


@dataclass
class Unscored:
    """How many could not be scored, and why."""

    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, trajectory: Trajectory) -> None:
        told = trajectory.reward.unscored if trajectory.reward else None
        self.reasons[trajectory.error or told or "no reason was given"] += 1

    def as_dict(self) -> dict[str, Any]:
        return {"n": self.reasons.total(), "reasons": dict(self.reasons.most_common(10))}


@dataclass
class Kept:
    """All that is kept of the episodes of one kind."""

    episodes: int = 0
    everything: Group = field(default_factory=Group)
    hops: dict[str, Group] = field(default_factory=dict)
    categories: dict[str, Group] = field(default_factory=dict)
    judges: set[str] = field(default_factory=set)
    ended: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    users: set[str] = field(default_factory=set)
    unscored: Unscored = field(default_factory=Unscored)
    sums: dict[str, float | None] = field(default_factory=lambda: {"cost": 0.0, "completion_tokens": 0})

    def add(self, trajectory: Trajectory, question: Question, baselines: Mapping[Place, float | None]) -> None:
        self.episodes += 1
        self.users.add(trajectory.user_id)
        self.ended[str(trajectory.ended)] += 1
        self.flags.update(trajectory.flags)
        if trajectory.verdict is not None:
            self.judges.add(trajectory.verdict.judge)
        if score_of(trajectory) is None:
            self.unscored.add(trajectory)
        for name, so_far in self.sums.items():
            taken = (trajectory.usage or {}).get(name)
            self.sums[name] = None if so_far is None or taken is None else so_far + taken
        groups = self._groups(question)
        for metric, value in figures(trajectory, question, baselines):
            for group in groups:
                group.add(metric, trajectory.user_id, value)

    def summary(self) -> dict[str, Any]:
        return {
            **self.everything.means(),
            "by_hops": {hops: self.hops[hops].means() for hops in sorted(self.hops)},
            "by_category": {category: self.categories[category].means() for category in sorted(self.categories)},
            "episodes": self.episodes,
            "users": len(self.users),
            "judge": sorted(self.judges),
            "unscored": self.unscored.as_dict(),
            "ended": dict(self.ended.most_common()),
            "flags": dict(self.flags.most_common()),
            "sums": self.sums,
        }

    def _groups(self, question: Question) -> list[Group]:
        groups = [self.everything]
        if question.rubric.hops is not None:
            groups.append(self.hops.setdefault(str(question.rubric.hops), Group()))
        if question.category is not None:
            groups.append(self.categories.setdefault(question.category, Group()))
        return groups


def score_of(trajectory: Trajectory) -> float | None:
    """What the answer was worth to the judge; None where that is not known."""
    if trajectory.verdict is not None:
        return trajectory.verdict.score
    reward = trajectory.reward
    return reward.total if reward is not None else None


def place_of(trajectory: Trajectory) -> Place:
    """What a personalised episode and its baseline have in common: the question, and which attempt at it."""
    return trajectory.question_id, trajectory.id.rpartition(":")[2]


def evidence_recall(trajectory: Trajectory, question: Question) -> float | None:
    """The share of the documents behind the aspects that some search showed; None where none is known."""
    wanted = evidence_of(question)
    shown = {document for search in trajectory.searches for document, _ in search.hits}
    if question.profile.user_id != question.user_id:
        shown.clear()  # another's posts may bear the same ids
    return len(wanted & shown) / len(wanted) if wanted else None


def evidence_of(question: Question) -> set[str]:
    """The ids of the documents that the aspects rest on."""
    return {document for aspect in question.rubric.aspects for document in aspect.documents}


def figures(
    trajectory: Trajectory, question: Question, baselines: Mapping[Place, float | None]
) -> Iterator[tuple[str, float | None]]:
    """All that is measured of one episode; None where it is not known."""
    score = score_of(trajectory)
    yield "score", score
    baseline = baselines.get(place_of(trajectory))
    yield "baseline", baseline
    if score is not None and baseline is not None:
        gain = score - baseline
        yield "gain", gain
        yield "helped", gain > _SAME
        yield "unchanged", abs(gain) <= _SAME
        yield "hurt", gain < -_SAME
    yield "searches", len(trajectory.searches)
    yield "evidence", evidence_recall(trajectory, question)
    yield "structure", trajectory.structure_ok
    yield "compliance", compliance(trajectory)
    yield "malformed", trajectory.malformed
    usage = trajectory.usage or {}
    yield "interventions", len(usage["interventions"]) if "interventions" in usage else None
    yield "prompt_tokens", usage.get("prompt_tokens")
    yield "completion_tokens", usage.get("completion_tokens")
    yield "seconds", (trajectory.timing or {}).get("seconds")
