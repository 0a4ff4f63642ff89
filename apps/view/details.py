"""All that is known of one trajectory, for its page or its export."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ...envs.data.profile_controls import ProfileOf
from ...envs.question import Aspect, Profile, Question
from ...envs.reward import AspectMatch
from ...envs.trajectory import Trajectory
from ...errors import DataError, ProfileGymError
from ...evaluation.late_verdicts import BROKEN, LateVerdict, verdict_key
from ...evaluation.late_verdicts import FILE as VERDICTS
from ...evaluation.summary import place_of, score_of
from .library import BRANCHES, TRAJECTORIES, Run, inside
from .redaction import WITHHELD, redacted
from .steps import Pair, beside, cut, steps_of

_ANCESTORS = 64  # of a branch of a branch …


@dataclass(frozen=True, slots=True)
class EvidenceDocument:
    """A document with the evidence for an aspect, and whether a search showed it."""

    id: str
    date: str | None
    text: str
    shown: bool


@dataclass(frozen=True, slots=True)
class AspectDetails:
    """The judge's match of an aspect and its reason, what was wanted, and the evidence."""

    title: str
    match: int | None  # None without a verdict
    reason: str
    wanted: str
    documents: Sequence[EvidenceDocument]


@dataclass(frozen=True, slots=True)
class Details:
    """`question` has the posts that were searched, `own` those of the user who asks.

    The question is None if the data cannot be loaded; `problem` says why.
    """

    trajectory: Trajectory
    baseline: Trajectory | None
    question: Question | None
    own: Profile
    problem: str | None
    whose: Mapping[int, ProfileOf]  # by turn: whose posts were searched
    learns: bool
    train_baseline: bool
    later: Sequence[LateVerdict]
    marks: Sequence[str]
    withheld: bool = False

    @property
    def pairs(self) -> list[Pair]:
        """The steps beside the baseline's steps."""
        evidence = {turn: self.evidence for turn, whose in self.whose.items() if whose == "own"}
        steps = steps_of(self.trajectory, evidence, self.trained)
        return beside(steps, steps_of(self.baseline, {}, self.train_baseline) if self.baseline else [])

    @property
    def trained(self) -> bool:
        """Whether the policy's tokens are in the loss of a training run."""
        return self.trajectory.kind == "personalised" or self.train_baseline

    @property
    def aspects(self) -> list[AspectDetails]:
        """The verdict, with what was wanted; without a verdict only that."""
        wanted = self.question.rubric.aspects if self.question else ()
        if self.trajectory.verdict is None:
            return [self._judged(None, aspect) for aspect in wanted]
        known = {aspect.title: aspect for aspect in wanted}
        matches = self.trajectory.verdict.aspects
        return [self._judged(match, known.get(match.title, Aspect(match.title))) for match in matches]

    @property
    def score(self) -> float | None:
        """By the run's own judge, in the run or later."""
        own = score_of(self.trajectory)
        if own is None:
            own = next((late.verdict.score for late in reversed(self.later) if late.own and late.verdict), None)
        return own

    @property
    def baseline_score(self) -> float | None:
        recorded: float | None = (self.trajectory.baseline or {}).get("score")
        return score_of(self.baseline) if recorded is None and self.baseline else recorded

    @property
    def gain(self) -> float | None:
        if self.score is None or self.baseline_score is None:
            return None
        return self.score - self.baseline_score

    def shown(self, whose: ProfileOf) -> set[str]:
        """The ids of documents from one profile that a search showed."""
        searches = (search for search in self.trajectory.searches if self.whose[search.turn] == whose)
        return {document for search in searches for document, _ in search.hits}

    @property
    def evidence(self) -> dict[str, list[str]]:
        """By document of the user who asks: the aspects it has evidence for."""
        found: dict[str, list[str]] = {}
        for aspect in self.question.rubric.aspects if self.question else ():
            for document in aspect.documents:
                found.setdefault(document, []).append(WITHHELD if self.withheld else aspect.title)
        return found

    @property
    def profile(self) -> Profile:
        """The posts that were searched."""
        if self.question is None:
            raise DataError(self.problem or "its question is not known")
        return self.question.profile

    def _judged(self, match: AspectMatch | None, aspect: Aspect) -> AspectDetails:
        shown = self.shown("own")
        documents = [
            EvidenceDocument(
                name,
                self.own.by_id[name].date,
                self._post(self.own.by_id[name].text),
                name in shown,
            )
            for name in aspect.documents
            if name in self.own.by_id
        ]
        wanted = aspect.evidence or aspect.reason
        told = wanted and self._post(wanted)
        if match is None:
            return AspectDetails(self._post(aspect.title), None, "", told, documents)
        return AspectDetails(match.title, match.match, cut(match.reason).shown, told, documents)

    def _post(self, text: str) -> str:
        return WITHHELD if self.withheld else cut(text).shown


def details_of(run: Run, name: str, row: int) -> Details:
    trajectory = run.trajectory(name, row)
    question, own, problem = _question(run, trajectory)
    late, marks = list(later(run, trajectory)), run.marks(name, row)
    whose = {search.turn: whose_at(run, trajectory, search.turn) for search in trajectory.searches}
    learning = run.learns, run.train_baseline
    return Details(trajectory, baseline_of(run, trajectory), question, own, problem, whose, *learning, late, marks)


def without_posts(details: Details) -> Details:
    """Without the text of the profile."""
    both = None
    if details.question:
        both = Profile(details.own.user_id, (*details.question.profile.documents, *details.own.documents))
    return replace(
        details,
        trajectory=redacted(details.trajectory, both),
        baseline=details.baseline and redacted(details.baseline, both),
        problem=details.problem and "its data cannot be loaded",  # an error may quote the data
        withheld=True,
    )


def baseline_of(run: Run, trajectory: Trajectory) -> Trajectory | None:
    """The baseline trajectory of the question in the run: of the same attempt, else of any."""
    if trajectory.kind == "baseline" or not run.has(TRAJECTORIES):
        return None
    index = run.index(TRAJECTORIES)
    query = "SELECT row FROM lines WHERE question_id = ? AND kind = 'baseline' ORDER BY attempt <> ?, row LIMIT 1"
    found = index.ask(query, place_of(trajectory))
    return index.trajectory(found[0]["row"]) if found else None


def parent_of(run: Run, trajectory: Trajectory) -> tuple[str, int] | None:
    """File and line of the trajectory that this one branched from."""
    wanted = (trajectory.parent or {}).get("id")
    for name in (TRAJECTORIES, BRANCHES):
        if wanted and run.has(name) and (row := run.index(name).row_of(str(wanted))):
            return name, row
    return None


def whose_at(run: Run, trajectory: Trajectory, turn: int) -> ProfileOf:
    """Whose posts a turn searched. Turns before the branch are the parent's."""
    for _ in range(_ANCESTORS):
        step = (trajectory.parent or {}).get("step", 0)
        if not isinstance(step, int) or turn >= step or (found := parent_of(run, trajectory)) is None:
            break
        trajectory = run.trajectory(*found)
    return run.questions.profile_of(trajectory)


def chosen_for(trajectory: Trajectory) -> dict[str, str]:
    """Options of a branch that differ from its run's."""
    named = ("agent", "model", "retriever", "top_k", "profile")
    return {name: str(value) for name, value in (trajectory.parent or {}).items() if name in named}


def later(run: Run, trajectory: Trajectory) -> Iterator[LateVerdict]:
    """Verdicts given after the run."""
    path = inside(run.path, VERDICTS)
    if not path.exists():
        return
    needle = json.dumps(trajectory.id, ensure_ascii=False)[1:-1].encode("utf-8", "replace")
    with path.open("rb") as file:
        for line in file:
            if needle not in line:
                continue
            try:
                late = LateVerdict.from_json(line.decode())
            except BROKEN:  # such as half a line
                continue
            if late.key == verdict_key(trajectory) and late.verdict:
                yield late


def _question(run: Run, trajectory: Trajectory) -> tuple[Question | None, Profile, str | None]:
    try:
        own = run.questions.find(trajectory).profile
        return run.questions.searched(trajectory), own, None
    except (ProfileGymError, OSError) as error:
        return None, Profile(trajectory.user_id, ()), str(error)
