"""Demonstrations for the pilot: episodes of a scripted player that searches with flaws and reads without errors."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from pydantic import model_validator

from ..._util.prompts import fill, template
from ...agents.agent import make_agent
from ...agents.models.model import Turn
from ...agents.plan import COVER
from ...agents.prompts import FOLDER
from ...agents.rollout import Job, Rollout
from ...agents.turn_format import answer_with, search_for
from ...envs.chat import Sampling
from ...envs.data import QuestionSet
from ...envs.question import Profile, Question
from ...envs.retrieval import BaseRetriever, Hit, Retriever, make_retriever
from ...envs.text import clean, clean_lines
from ...envs.trajectory import Segment, Trajectory
from ...training.settings import Fraction, SettingsModel, check_settings
from ..data import gold_queries
from .reading import NOTHING_YET, Reading

_WHO = "The name of "  # start of this aspect's title in the world
_SHOWN = 3  # hits of a search
_PLANNING = template("plan", FOLDER).partition("{{question}}")[0]


class Habits(SettingsModel):
    """The share of episodes with each flaw. The first three are for personal questions and exclude each other."""

    hasty: Fraction = 0.0  # answers without a search
    copies: Fraction = 0.0  # searches once, for the question itself
    stops: Fraction = 0.0  # stops after the first search of its plan
    needless: Fraction = 0.0  # searches where common knowledge is enough
    tempted: Fraction = 0.0  # answers with the user's quirk if a post shows one

    @model_validator(mode="after")
    def _exclusive(self) -> "Habits":
        if self.hasty + self.copies + self.stops > 1:
            raise ValueError("hasty, copies and stops exclude each other: together they cannot exceed 1")
        return self

    def flaw(self, rng: Random, hops: int) -> str | None:
        """Draw the flaw in one episode's searches, if any."""
        shares = [("hasty", self.hasty), ("copies", self.copies), ("stops", self.stops)]
        drawn = rng.random()
        for flaw, share in shares if hops else [("needless", self.needless)]:
            drawn -= share
            if drawn < 0:
                return flaw
        return None


class Demonstrator:
    """A scripted model that knows the right queries, has the given flaws, and answers from the posts shown.

    It thinks by reading the hits line by line; if `brief`, by quoting what holds.
    """

    name = "demonstrator"

    def __init__(self, habits: Habits, brief: bool = False) -> None:
        self._habits, self._brief = habits, brief

    def open(self, question: Question, seed: int | None) -> "_Session":
        rng = Random(seed)
        flaw = self._habits.flaw(rng, question.rubric.hops or 0)
        return _Session(question, _queries(question, flaw), rng.random() < self._habits.tempted, self._brief)

    async def close(self) -> None:
        """Nothing to close."""


@dataclass(frozen=True, slots=True)
class _Session:
    question: Question
    queries: Sequence[str]
    tempted: bool
    brief: bool

    async def generate(self, said: Sequence[Segment], sampling: Sampling, stop: Sequence[str]) -> Turn:
        if said[-1].text.startswith(_PLANNING):
            return Turn("\n".join(_titles(self.question)), by_rule=True)
        reading = Reading(self.question, said, self.tempted)
        made = sum(segment.author == "policy" for segment in said)
        planned = made > 0 and COVER in said[1].text
        thought = _thought(reading, self.brief or planned)
        if made < len(self.queries) and "answer now." not in said[-1].text:
            return Turn(search_for(self.queries[made], thought), by_rule=True)
        return Turn(answer_with(reading.answer, thought), by_rule=True)

    def close(self) -> None:
        """Nothing to close."""


def player(brief: bool = True, **habits: float) -> Demonstrator:
    """The demonstrator as a model, for lessons: `profilegym.world.pilot.demonstrations:player,hasty=0.3,copies=0.2`."""
    return Demonstrator(check_settings(Habits, habits, "the demonstrator"), brief)


def _thought(reading: Reading, brief: bool) -> str:
    """The hits of one search are read line by line; for the several searches of a plan that would take too long."""
    read = reading.quotes() if brief else reading.line_by_line()
    return read or NOTHING_YET


def _queries(question: Question, flaw: str | None) -> Sequence[str]:
    match flaw:
        case "hasty":
            return ()
        case "copies" | "needless":
            return (clean(question.text),)
        case "stops":
            return _plan(question)[:1]
        case _:
            return _plan(question)


def _plan(question: Question) -> list[str]:
    """The world's queries with names last, where a leading space makes their tokens those of the posts."""
    return [" ".join(sorted(query.split(), key=lambda word: word[0].isupper())) for query in gold_queries(question.id)]


def _titles(question: Question) -> list[str]:
    """The aspects of a good answer; a name that only the posts reveal is replaced by the role in the question."""
    who, *_ = question.rubric.aspects
    if not who.title.startswith(_WHO):
        return [aspect.title for aspect in question.rubric.aspects]
    role = who.title.removeprefix(_WHO)
    return [aspect.title.replace(who.accepted[0], role) for aspect in question.rubric.aspects]


def demonstrate(
    questions: QuestionSet, habits: Habits, agents: Mapping[str, float], seed: int, shuffled: float = 0.0
) -> list[Trajectory]:
    """Play one episode a question; draw its agent by share, and shuffle the hits of a share of the searches."""
    rng, players = Random(seed), {name: make_agent(name) for name in agents}
    names, shares = list(agents), list(agents.values())
    jobs = [Job(question, players[rng.choices(names, shares)[0]]) for question in questions]
    retriever = _Shuffled(make_retriever("bm25"), shuffled, seed)
    return asyncio.run(_played(Rollout(Demonstrator(habits), retriever, seed=seed), jobs))


class _Shuffled(BaseRetriever):
    """Shuffles hits, so that the content of a post matters and not only its rank."""

    runs_inline = True

    def __init__(self, retriever: Retriever, share: float, seed: int) -> None:
        self._retriever, self._share, self._seed = retriever, share, seed

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        hits = self._retriever.search(profile, query, k)
        rng = Random(f"{self._seed} {query} {[hit.document.text for hit in hits[:_SHOWN]]}")
        if rng.random() >= self._share:
            return hits
        return [*rng.sample(hits[:_SHOWN], len(hits[:_SHOWN])), *hits[_SHOWN:]]


async def _played(rollout: Rollout, jobs: Sequence[Job]) -> list[Trajectory]:
    place = {job.id: number for number, job in enumerate(jobs)}
    played = [trajectory async for trajectory in rollout.run(jobs)]
    return sorted(played, key=lambda trajectory: place[trajectory.id])


def lessons(trajectory: Trajectory, questions: QuestionSet) -> Iterator[list[Segment]]:
    """The transcripts to train on, in which only the model's own text counts as the policy's."""
    if trajectory.agent != "plan":
        yield trajectory.segments
        return
    question = questions.find(trajectory.question_id)
    prompt = fill("plan", FOLDER, question=clean_lines(question.text))
    yield [Segment("environment", prompt), Segment("policy", "\n".join(_titles(question)))]
    *written, last = trajectory.segments  # the plan determines its searches
    yield [*(Segment("environment", segment.text) for segment in written), last]
