"""Alarms: signs of a failing search agent, counted over trajectories."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from ..envs.question import Question
from ..envs.reward import NOT_ASKED
from ..envs.trajectory import Trajectory
from .summary import score_of

# The share above which a sign raises its alarm.
REPEATED = 0.10  # a good policy repeats a query now and then; a collapsing one, often
EMPTY = 0.01  # a query without a word is never right
COPIED = 0.50  # fair on one-hop questions, but not for half of all queries
STUCK = 0.95  # nearly all episodes
_ALWAYS_OF = 5  # episodes
FORGED = 0.01  # no prompt asks the policy to write the environment's part
TRUNCATED = 0.05  # above this, too many answers are missing
MALFORMED = 0.05  # a trained policy follows the protocol in 95 % of its episodes
UNSCORED = 0.01  # unscored episodes are rarely a random sample

COPY = 0.9  # of the union of the words of question and query
EXAMPLES = 5
_WORD = re.compile(r"\w+")
_INFORMATION = re.compile(r"<\s*information\s*>", re.IGNORECASE)
_NO_QUERY = re.compile(r'<search>\s*</search>|"query":\s*"\s*"')  # malformed to the episode


@dataclass(frozen=True, slots=True)
class Alarm:
    """How many of `n` show a sign; raised where the share exceeds the threshold. Examples are trajectory ids."""

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
        few = self.n < _ALWAYS_OF and self.threshold >= STUCK  # of which "always" says little
        return self.share is not None and self.share > self.threshold and not few

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"share": self.share, "raised": self.raised, "examples": list(self.examples)}


@dataclass(frozen=True, slots=True)
class Sign:
    """What is counted, the threshold, and what to do."""

    of: str
    threshold: float
    meaning: str


SIGNS = {
    "repeated queries": Sign(
        "episodes with searches",
        REPEATED,
        "A query is repeated within an episode: reward evidence or charge for searches, and check whether the policy "
        "uses what it finds.",
    ),
    "empty queries": Sign(
        "queries",
        EMPTY,
        "A query has no word: the policy has lost the protocol; go back to an earlier checkpoint.",
    ),
    "copied questions": Sign(
        "queries",
        COPIED,
        "The query copies the question, so it finds no second hop; compare with the agent rag, which does the same.",
    ),
    "never searches": Sign(
        "episodes that need a search",
        STUCK,
        "The policy never searches: check gain and the cost of a search, or train on more questions that need one.",
    ),
    "always searches to the limit": Sign(
        "episodes that need fewer",
        STUCK,
        "The policy uses every search: charge for searches, or raise the limit to see where it stops.",
    ),
    "forged information": Sign(
        "episodes",
        FORGED,
        "The policy writes <information> itself. It never counts as the environment's text; check that stop strings "
        "reach the model.",
    ),
    "truncated": Sign(
        "episodes",
        TRUNCATED,
        "The episode ended without an answer: allow more tokens or turns, or penalise not answering.",
    ),
    "malformed": Sign(
        "episodes",
        MALFORMED,
        "A turn was neither search nor answer: train on demonstrations first, or use a protocol that the model knows.",
    ),
    "unscored": Sign(
        "episodes that were to be scored",
        UNSCORED,
        "Unscored episodes are left out of every mean: play or judge them again first.",
    ),
}


@dataclass
class Tally:
    """A count, its total, and the first examples."""

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
    """Counts signs over trajectories added one by one, in constant memory."""

    def __init__(self, max_searches: int) -> None:
        self._max_searches = max_searches
        self._tallies = {name: Tally() for name in SIGNS}

    def add(self, trajectory: Trajectory, question: Question) -> None:
        for name, signs in _seen(trajectory, question, self._max_searches):
            self._tallies[name].add(signs, trajectory.id)

    def report(self) -> list[Alarm]:
        """All alarms, raised ones first."""
        alarms = [_alarm(name, tally) for name, tally in self._tallies.items()]
        return sorted(alarms, key=lambda alarm: not alarm.raised)


def alarms(
    trajectories: Iterable[Trajectory], find: Callable[[str], Question], max_searches: int
) -> list[dict[str, Any]]:
    """All alarms of a run, as its summary stores them."""
    counted = Alarms(max_searches)
    for trajectory in trajectories:
        counted.add(trajectory, find(trajectory.question_id))
    return [alarm.as_dict() for alarm in counted.report()]


def signs_of(trajectory: Trajectory, question: Question, max_searches: int) -> list[str]:
    """The signs that one trajectory shows."""
    return [name for name, signs in _seen(trajectory, question, max_searches) if any(signs)]


def _alarm(name: str, tally: Tally) -> Alarm:
    sign = SIGNS[name]
    return Alarm(name, tally.count, tally.n, sign.threshold, sign.of, sign.meaning, tuple(tally.examples))


def _seen(trajectory: Trajectory, question: Question, max_searches: int) -> Iterator[tuple[str, list[bool]]]:
    """Each sign, with whether it shows in each case where it could."""
    queries = [_words(search.query) for search in trajectory.searches if search.turn >= 0]  # not the initial one
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
    if trajectory.reward != NOT_ASKED or trajectory.verdict:
        yield "unscored", [score_of(trajectory) is None]


def _may_search(trajectory: Trajectory, max_searches: int) -> bool:
    """An agent with documents in its prompt makes no searches of its own."""
    initial = any(search.turn < 0 for search in trajectory.searches)
    return trajectory.kind == "personalised" and max_searches > 0 and not initial and trajectory.ended != "error"


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.casefold()))


def _copied(query: tuple[str, ...], question: tuple[str, ...]) -> bool:
    one, other = set(query), set(question)
    return len(one & other) >= COPY * len(one | other)
