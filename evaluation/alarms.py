"""Signs that a search agent is going wrong, counted over any number of its trajectories."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from ..envs.question import Question
from ..envs.trajectory import Trajectory
from .summary import score_of

# From which share on a sign is an alarm.
REPEATED = 0.10  # a policy that has learnt to search repeats itself now and then; one that collapses, again and again
EMPTY = 0.01  # no query without a word in it is ever right
COPIED = 0.50  # on questions of one hop the question is a fair query; on half of all queries it is a habit
STUCK = 0.95  # all but a few, so that a run of some length needs no perfect zero
FORGED = 0.01  # nothing in the prompt asks the policy to write the environment's part
TRUNCATED = 0.05  # more than that is missing from what the answers show
MALFORMED = 0.05  # a trained policy keeps to the protocol in 95 % of its episodes
UNSCORED = 0.01  # what fails to be scored is rarely a fair sample of the rest

COPY = 0.9  # of the words of question and query together
EXAMPLES = 5
_WORD = re.compile(r"\w+")
_INFORMATION = re.compile(r"<\s*information\s*>", re.IGNORECASE)
_NO_QUERY = re.compile(r'<search>\s*</search>|"query":\s*"\s*"')  # the episode takes it for a mistake


@dataclass(frozen=True, slots=True)
class Alarm:
    """How many of `n` show the sign; it is raised where that is more than the threshold. Examples are trajectories."""

    name: str
    count: int
    n: int
    threshold: float
    of: str
    meaning: str
    examples: tuple[str, ...]

    @property
    def share(self) -> float | None:
        return self.count / self.n if self.n else None

    @property
    def raised(self) -> bool:
        return self.share is not None and self.share > self.threshold

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"share": self.share, "raised": self.raised, "examples": list(self.examples)}


@dataclass(frozen=True, slots=True)
class Sign:
    """What is counted, of what, and what to do about it."""

    of: str
    threshold: float
    meaning: str


SIGNS = {
    "repeated queries": Sign(
        "episodes with searches",
        REPEATED,
        "A query is asked again although its posts were shown: reward evidence or charge for searches, and see whether "
        "the policy reads what it is shown.",
    ),
    "empty queries": Sign(
        "queries",
        EMPTY,
        "There is no word to search for: the policy has lost the protocol; go back to an earlier checkpoint.",
    ),
    "copied questions": Sign(
        "queries",
        COPIED,
        "The question itself is the query: it finds no second hop; compare with the agent rag, which does no more.",
    ),
    "never searches": Sign(
        "episodes that need a search",
        STUCK,
        "The policy has given up searching: look at gain and at the cost of a search, or train more on questions that "
        "need one.",
    ),
    "always searches to the limit": Sign(
        "episodes that need fewer",
        STUCK,
        "The policy searches until it may not: charge for searches, or raise the limit to see where it would stop.",
    ),
    "forged information": Sign(
        "episodes",
        FORGED,
        "The policy writes <information> itself: it makes up what was found. It never counts as the environment's "
        "word; check that the stop strings reach the model.",
    ),
    "truncated": Sign(
        "episodes",
        TRUNCATED,
        "The episode ended without an answer: give more tokens or turns, or penalise not answering.",
    ),
    "malformed": Sign(
        "episodes",
        MALFORMED,
        "A turn was neither search nor answer: train on demonstrations first, or use the protocol the model knows.",
    ),
    "unscored": Sign(
        "episodes",
        UNSCORED,
        "What could not be scored is left out of every mean: score it with profilegym rejudge before you trust them.",
    ),
}


@dataclass
class Tally:
    """How many of how many, and which were first."""

    count: int = 0
    n: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, signs: Iterable[bool], example: str) -> None:
        for sign in signs:
            self.n += 1
            self.count += sign
            if sign and len(self.examples) < EXAMPLES and example not in self.examples:
                self.examples.append(example)


class Alarms:
    """Takes trajectories one by one; keeps counts and a few ids, whatever their number."""

    def __init__(self, max_searches: int) -> None:
        self._max_searches = max_searches
        self._tallies = {name: Tally() for name in SIGNS}

    def add(self, trajectory: Trajectory, question: Question) -> None:
        for name, signs in _seen(trajectory, question, self._max_searches):
            self._tallies[name].add(signs, trajectory.id)

    def report(self) -> list[Alarm]:
        """All of them, those that are raised first."""
        alarms = [_alarm(name, tally) for name, tally in self._tallies.items()]
        return sorted(alarms, key=lambda alarm: not alarm.raised)


def alarms(
    trajectories: Iterable[Trajectory], find: Callable[[str], Question], max_searches: int
) -> list[dict[str, Any]]:
    """Of a whole run, as its summary keeps them."""
    counted = Alarms(max_searches)
    for trajectory in trajectories:
        counted.add(trajectory, find(trajectory.question_id))
    return [alarm.as_dict() for alarm in counted.report()]


def signs_of(trajectory: Trajectory, question: Question, max_searches: int) -> list[str]:
    """What one trajectory shows."""
    return [name for name, signs in _seen(trajectory, question, max_searches) if any(signs)]


def _alarm(name: str, tally: Tally) -> Alarm:
    sign = SIGNS[name]
    return Alarm(name, tally.count, tally.n, sign.threshold, sign.of, sign.meaning, tuple(tally.examples))


def _seen(trajectory: Trajectory, question: Question, max_searches: int) -> Iterator[tuple[str, list[bool]]]:
    """Each sign with whether it shows, for all that it could show in."""
    queries = [_words(search.query) for search in trajectory.searches if search.turn >= 0]  # not the opening one
    written = [segment.text for segment in trajectory.segments if segment.author == "policy"]
    if queries:
        yield "repeated queries", [len(set(queries)) < len(queries)]
    yield "empty queries", [not query for query in queries] + [True for turn in written if _NO_QUERY.search(turn)]
    asked = _words(question.text)
    yield "copied questions", [_copied(query, asked) for query in queries if query]
    if _may_search(trajectory, max_searches):
        hops = question.rubric.hops
        yield "never searches", [not queries] if hops != 0 else []
        yield "always searches to the limit", [len(queries) >= max_searches] if (hops or 0) < max_searches else []
    yield "forged information", [any(map(_INFORMATION.search, written))]
    yield "truncated", [trajectory.ended in ("budget", "length")]
    yield "malformed", [trajectory.malformed > 0]
    yield "unscored", [score_of(trajectory) is None]


def _may_search(trajectory: Trajectory, max_searches: int) -> bool:
    """Whoever is shown posts in the prompt has no searches of its own."""
    opening = any(search.turn < 0 for search in trajectory.searches)
    return trajectory.kind == "personalised" and max_searches > 0 and not opening and trajectory.ended != "error"


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.casefold()))


def _copied(query: tuple[str, ...], question: tuple[str, ...]) -> bool:
    one, other = set(query), set(question)
    return len(one & other) >= COPY * len(one | other)
