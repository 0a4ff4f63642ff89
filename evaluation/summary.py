"""Summary of a run: means with intervals over users; unscored episodes are counted and left out."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..agents.r2p_template import complies
from ..envs.question import Question
from ..envs.tagpr_tags import tagged
from ..envs.trajectory import Segment, Trajectory
from ..rewards.answer_metrics import mentions, words
from ..rewards.search_metrics import Found, Unit, evidence_cited, evidence_found
from .intervals import macro_mean, mean

_SAME = 1e-9  # scores closer than this are equal
Place = tuple[str, str]  # question and attempt
FIGURES = (  # metric, label, digits
    ("score", "score", 3),
    ("baseline", "without profile", 3),
    ("gain", "gain", 3),
    ("helped", "helped", 2),
    ("unchanged", "unchanged", 2),
    ("hurt", "hurt", 2),
    ("searches", "searches", 2),
    ("evidence", "evidence", 3),
    ("evidence_precision", "precision", 3),
    ("evidence_ndcg", "nDCG", 3),
    ("session_evidence", "sessions found", 3),
    ("cite_precision", "cited rightly", 3),
    ("cite_recall", "evidence cited", 3),
    ("cite_f1", "citations F1", 3),
    ("needless", "needless search", 2),
    ("harm", "harm", 3),
    ("over_personalised", "over-personal", 2),
    ("structure", "structure", 3),
    ("compliance", "keeps its form", 3),
    ("interventions", "interventions", 2),
    ("malformed", "malformed", 2),
    ("prompt_tokens", "tokens read", 0),
    ("completion_tokens", "tokens written", 0),
    ("seconds", "seconds", 2),
)
LABELS = {metric: label for metric, label, _ in FIGURES}
FRACTIONS = {  # from 0 to 1
    *("score", "baseline", "helped", "unchanged", "hurt", "structure", "compliance", "needless", "over_personalised"),
    *("evidence", "evidence_precision", "evidence_ndcg", "session_evidence"),
    *("cite_precision", "cite_recall", "cite_f1"),
}
FEW_CATEGORIES = 6  # so many fit into a table on the terminal
MACRO = ("score", "baseline", "gain")  # also as means over categories
_FORMS: Mapping[str, Callable[[Sequence[Segment]], bool]] = {  # by agent, beyond the grammar of tags
    "r2p": complies,
    "tagpr": lambda segments: tagged(segments).problem is None,
}


@dataclass
class Group:
    """Values by metric and user: a user's questions are not independent, so intervals are over users."""

    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, metric: str, user: str, value: float | None) -> None:
        if value is not None:
            self.values.setdefault(metric, {}).setdefault(user, []).append(float(value))

    def means(self) -> dict[str, Any]:
        return {metric: mean(by_user, metric in FRACTIONS).as_dict() for metric, by_user in self.values.items()}


def summarise(trajectories: Callable[[], Iterable[Trajectory]], find: Callable[[str], Question]) -> dict[str, Any]:
    """`trajectories` is called twice and never held in memory; `find` returns a question by its id.

    The figures are over the personalised episodes, or over the baselines where there are no others.
    """
    baselines = {place_of(t): score_of(t) for t in trajectories() if t.kind == "baseline"}
    count = RunTotals()
    for trajectory in trajectories():
        count.add(trajectory, find(trajectory.question_id), baselines)
    return count.summary()


class RunTotals:
    """Totals of a run, separately for personalised episodes and baselines."""

    def __init__(self) -> None:
        self._kinds = {kind: KindTotals() for kind in ("personalised", "baseline")}

    def add(self, trajectory: Trajectory, question: Question, baselines: Mapping[Place, float | None]) -> None:
        self._kinds[trajectory.kind].add(trajectory, question, baselines if trajectory.kind == "personalised" else {})

    def summary(self) -> dict[str, Any]:
        personalised, baseline = self._kinds["personalised"], self._kinds["baseline"]
        if not personalised.episodes:
            return baseline.summary()
        beside = {"baseline_unscored": baseline.unscored.as_dict(), "baseline_sums": baseline.sums}
        return personalised.summary() | beside


@dataclass
class Unscored:
    """The number of unscored episodes, by reason. Those that `failed` have no answer that could be scored."""

    reasons: Counter[str] = field(default_factory=Counter)
    failed: int = 0

    def add(self, trajectory: Trajectory) -> None:
        told = trajectory.reward.unscored if trajectory.reward else None
        self.reasons[trajectory.error or told or "no reason was given"] += 1
        self.failed += trajectory.ended == "error"

    def as_dict(self) -> dict[str, Any]:
        reasons = dict(self.reasons.most_common(10))
        return {"n": self.reasons.total(), "failed": self.failed, "reasons": reasons}


@dataclass
class KindTotals:
    """Totals over the episodes of one kind."""

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
            "macro": self._macro(),
            "episodes": self.episodes,
            "users": len(self.users),
            "judge": sorted(self.judges),
            "unscored": self.unscored.as_dict(),
            "ended": dict(self.ended.most_common()),
            "flags": dict(self.flags.most_common()),
            "sums": self.sums,
        }

    def _macro(self) -> dict[str, Any]:
        """Means over categories, each weighing the same; empty where there are fewer than two."""
        values = {
            metric: [group.values[metric] for group in self.categories.values() if metric in group.values]
            for metric in MACRO
        }
        return {
            metric: macro_mean(of, metric in FRACTIONS).as_dict()
            for metric, of in values.items()
            if len(of) == len(self.categories) > 1
        }

    def _groups(self, question: Question) -> list[Group]:
        groups = [self.everything]
        if question.rubric.hops is not None:
            groups.append(self.hops.setdefault(str(question.rubric.hops), Group()))
        if question.category is not None:
            groups.append(self.categories.setdefault(question.category, Group()))
        return groups


def score_of(trajectory: Trajectory) -> float | None:
    """The judge's score, else the reward; None where unknown."""
    if trajectory.verdict is not None:
        return trajectory.verdict.score
    reward = trajectory.reward
    return reward.total if reward is not None else None


def place_of(trajectory: Trajectory) -> Place:
    """The question and the attempt, which a personalised episode shares with its baseline."""
    return trajectory.question_id, trajectory.id.rpartition(":")[2]


def compliance(trajectory: Trajectory) -> bool | None:
    """Whether the output has its agent's form; None where the agent has none, or plays without tags."""
    form = _FORMS.get(trajectory.agent or "")
    if form is None or trajectory.structure_ok is None or trajectory.prompt_name != "tags":
        return None
    return trajectory.structure_ok and form(trajectory.segments)


def evidence_shown(trajectory: Trajectory, question: Question, by: Unit = "document") -> Found | None:
    """How much evidence the searches found; None where none is known."""
    return evidence_found(question, (document for search in trajectory.searches for document, _ in search.hits), by)


def evidence_recall(trajectory: Trajectory, question: Question) -> float | None:
    """The share of the evidence documents that some search returned; None where none is known."""
    found = evidence_shown(trajectory, question)
    return found.recall if found else None


def figures(
    trajectory: Trajectory, question: Question, baselines: Mapping[Place, float | None]
) -> Iterator[tuple[str, float | None]]:
    """Every metric of one episode; None where unknown."""
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
    if found := evidence_shown(trajectory, question):
        yield from zip(("evidence", "evidence_precision", "evidence_ndcg"), found, strict=True)
    if found := evidence_shown(trajectory, question, "session"):
        yield "session_evidence", found.recall
    if trajectory.cites is not None and (cited := evidence_cited(question, trajectory.cites, trajectory.searches)):
        yield from zip(("cite_precision", "cite_recall", "cite_f1"), cited, strict=True)
    yield from restraint(trajectory, question, score, baseline)
    yield "structure", trajectory.structure_ok
    yield "compliance", compliance(trajectory)
    yield "malformed", trajectory.malformed
    usage = trajectory.usage or {}
    yield "interventions", len(usage["interventions"]) if "interventions" in usage else None
    yield "prompt_tokens", usage.get("prompt_tokens")
    yield "completion_tokens", usage.get("completion_tokens")
    yield "seconds", (trajectory.timing or {}).get("seconds")


def restraint(
    trajectory: Trajectory, question: Question, score: float | None, baseline: float | None
) -> Iterator[tuple[str, float]]:
    """What the policy did where the history must not be used: general questions, and those that it does not answer.

    No search is needless in a question that cannot be answered, as only a search shows that.
    """
    rubric = question.rubric
    if rubric.history not in ("unneeded", "unanswerable"):
        return
    if rubric.history == "unneeded":
        yield "needless", bool(trajectory.searches)
    if score is not None and baseline is not None:
        yield "harm", baseline - score
    rejected = [phrase for aspect in rubric.aspects for phrase in aspect.rejected]
    if rejected:
        yield "over_personalised", _over_personalised(trajectory, question, rejected)


def _over_personalised(trajectory: Trajectory, question: Question, rejected: Sequence[str]) -> bool:
    """Whether the answer holds a rejected phrase whose words all stand in the documents shown."""
    said = [phrase for phrase in rejected if mentions(trajectory.answer or "", [phrase])]
    if not said:
        return False
    by_id = question.profile.by_id
    hits = (by_id[name].text for search in trajectory.searches for name, _ in search.hits if name in by_id)
    shown = {word for text in hits for word in words(text)}
    return any(shown.issuperset(words(phrase)) for phrase in said)
