"""Episodes of a scripted player who searches clumsily and reads well: what a model learns its first habits from."""

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
from ...envs.retrieval import Hit, Retriever, make_retriever
from ...envs.text import clean, clean_lines
from ...envs.trajectory import Segment, Trajectory
from ...training.settings import Part, Share
from ..data import gold_queries
from .reading import NOTHING_YET, Reading

_WHO = "The name of "  # how the world titles this aspect
_SHOWN = 3  # posts that a search shows
_PLANNING = template("plan", FOLDER).partition("{{question}}")[0]


class Habits(Part):
    """The share of episodes with each flaw. The first three are for personal questions, and exclude each other."""

    hasty: Share = 0.0  # answers without a search
    copies: Share = 0.0  # searches once, for the question itself
    stops: Share = 0.0  # stops after the first search of its plan
    needless: Share = 0.0  # searches where common knowledge is enough
    tempted: Share = 0.0  # repeats the person's quirk where one is shown

    @model_validator(mode="after")
    def _exclusive(self) -> "Habits":
        if self.hasty + self.copies + self.stops > 1:
            raise ValueError("hasty, copies and stops exclude each other: together they cannot exceed 1")
        return self

    def flaw(self, luck: Random, hops: int) -> str | None:
        """What is wrong with the searches of one episode, if anything."""
        shares = [("hasty", self.hasty), ("copies", self.copies), ("stops", self.stops)]
        drawn = luck.random()
        for flaw, share in shares if hops else [("needless", self.needless)]:
            drawn -= share
            if drawn < 0:
                return flaw
        return None


class Demonstrator:
    """A model that knows where to look, has its habits, and says only what the posts shown can tell a reader."""

    name = "demonstrator"

    def __init__(self, habits: Habits) -> None:
        self._habits = habits

    def open(self, question: Question, seed: int | None) -> "_Session":
        luck = Random(seed)
        flaw = self._habits.flaw(luck, question.rubric.hops or 0)
        return _Session(question, _queries(question, flaw), tempted=luck.random() < self._habits.tempted)

    async def close(self) -> None:
        """There is nothing to give back."""


@dataclass(frozen=True, slots=True)
class _Session:
    question: Question
    queries: Sequence[str]
    tempted: bool

    async def generate(self, said: Sequence[Segment], sampling: Sampling, stop: Sequence[str]) -> Turn:
        if said[-1].text.startswith(_PLANNING):
            return Turn("\n".join(_titles(self.question)))
        reading = Reading(self.question, said, self.tempted)
        made = sum(segment.author == "policy" for segment in said)
        thought = _thought(reading, planned=made > 0 and COVER in said[1].text)
        if made < len(self.queries) and "answer now." not in said[-1].text:
            return Turn(search_for(self.queries[made], thought))
        return Turn(answer_with(reading.answer, thought))

    def close(self) -> None:
        """There is nothing to give back."""


def _thought(reading: Reading, planned: bool) -> str:
    """One search is gone through line by line; the several of a plan would take too long."""
    read = reading.quotes() if planned else reading.gone_through()
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
    """The world's plan, with names last: there they are spelt as in the posts, after a space."""
    return [" ".join(sorted(query.split(), key=lambda word: word[0].isupper())) for query in gold_queries(question.id)]


def _titles(question: Question) -> list[str]:
    """What a good answer covers; a name is what the question calls its bearer, as only the posts tell it."""
    who, *_ = question.rubric.aspects
    if not who.title.startswith(_WHO):
        return [aspect.title for aspect in question.rubric.aspects]
    role = who.title.removeprefix(_WHO)
    return [aspect.title.replace(who.accepted[0], role) for aspect in question.rubric.aspects]


def demonstrate(
    questions: QuestionSet, habits: Habits, agents: Mapping[str, float], seed: int, shuffled: float = 0.0
) -> list[Trajectory]:
    """One episode a question, played by an agent that is drawn by its share; a share of the searches is shuffled."""
    luck, players = Random(seed), {name: make_agent(name) for name in agents}
    names, shares = list(agents), list(agents.values())
    jobs = [Job(question, players[luck.choices(names, shares)[0]]) for question in questions]
    retriever = _Shuffled(make_retriever("bm25"), shuffled, seed)
    return asyncio.run(_played(Rollout(Demonstrator(habits), retriever, seed=seed), jobs))


class _Shuffled:
    """The same posts in another order, so that what a post says has to be read, and not only which comes first."""

    instant = True

    def __init__(self, retriever: Retriever, share: float, seed: int) -> None:
        self._retriever, self._share, self._seed = retriever, share, seed

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        return self.search_many([(profile, query)], k)[0]

    def search_many(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[list[Hit]]:
        found = self._retriever.search_many(requests, k)
        return [self._in_some_order(hits, query) for hits, (_, query) in zip(found, requests, strict=True)]

    def _in_some_order(self, hits: list[Hit], query: str) -> list[Hit]:
        luck = Random(f"{self._seed} {query} {[hit.document.text for hit in hits[:_SHOWN]]}")
        if luck.random() >= self._share:
            return hits
        return [*luck.sample(hits[:_SHOWN], len(hits[:_SHOWN])), *hits[_SHOWN:]]


async def _played(rollout: Rollout, jobs: Sequence[Job]) -> list[Trajectory]:
    place = {job.id: number for number, job in enumerate(jobs)}
    played = [trajectory async for trajectory in rollout.run(jobs)]
    return sorted(played, key=lambda trajectory: place[trajectory.id])


def lessons(trajectory: Trajectory, questions: QuestionSet) -> Iterator[list[Segment]]:
    """The transcripts to learn from, in which only what the model itself says is the policy's."""
    if trajectory.agent != "plan":
        yield trajectory.segments
        return
    question = questions.find(trajectory.question_id)
    prompt = fill("plan", FOLDER, question=clean_lines(question.text))
    yield [Segment("environment", prompt), Segment("policy", "\n".join(_titles(question)))]
    *written, last = trajectory.segments  # its searches follow from the plan
    yield [*(Segment("environment", segment.text) for segment in written), last]
