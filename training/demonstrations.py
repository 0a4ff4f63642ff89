"""Episodes of a scripted player who searches clumsily and reads well: what a model learns its first habits from."""

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from pydantic import model_validator

from ..agents.agent import make_agent
from ..agents.models.model import Turn
from ..agents.models.oracle import known_aspects, posts_shown
from ..agents.prompts import FOLDER
from ..agents.rollout import Job, Rollout
from ..agents.writing import answer_with, search_for
from ..envs.completion import Sampling
from ..envs.data import QuestionSet
from ..envs.data.world import plan_of
from ..envs.episode import clean
from ..envs.prompts import fill, template
from ..envs.question import Aspect, Question
from ..envs.retrieval import make_retriever
from ..envs.trajectory import Segment, Trajectory
from .settings import Part, Share

_WHO, _USE = "The name of ", "What people use to "  # how the world titles these aspects
NO_HELP, NOTHING_YET = "That does not help.", "Let me think."
_DATED = re.compile(r"(\d+\. )\[[\d-]+\] ")
_SENTENCE = re.compile(r"(?<=[.\]]) ")
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

    async def speak(self, said: Sequence[Segment], sampling: Sampling, stop: Sequence[str]) -> Turn:
        if said[-1].text.startswith(_PLANNING):
            return Turn("\n".join(_titles(self.question)))
        found = _Found(self.question, said, self.tempted)
        made = sum(segment.author == "policy" for segment in said)
        if made < len(self.queries) and "answer now." not in said[-1].text:
            return Turn(search_for(self.queries[made], found.thought))
        return Turn(answer_with(found.answer, found.thought))

    def close(self) -> None:
        """There is nothing to give back."""


class _Found:
    """What a reader makes of a transcript."""

    def __init__(self, question: Question, said: Sequence[Segment], tempted: bool) -> None:
        self._said = said
        self._quirk = _quirk(question, said) if tempted else None
        self._known = known_aspects(question, said)
        self._quotes = (
            [_quote(said, self._quirk.text)]
            if self._quirk
            else [_told(question, aspect, said) for aspect in self._known if aspect.documents]
        )

    @property
    def thought(self) -> str:
        """What the posts say that was not said yet, in their own words."""
        before = " ".join(segment.text for segment in self._said if segment.author == "policy")
        new = [quote for quote in dict.fromkeys(self._quotes) if quote not in before]
        if new:
            return "".join(new)
        return NO_HELP if posts_shown(self._said[-1:]) else NOTHING_YET

    @property
    def answer(self) -> str:
        if self._quirk:
            return f"Remember: {', '.join(self._quirk.phrases)}."
        values = [aspect.accepted[0] for aspect in self._known]
        if self._known and self._known[0].title.startswith(_WHO):
            name, *values = values
            return f"For {name}: {', '.join(values)}." if values else f"It is for {name}."
        return f"Remember: {', '.join(values)}." if values else "I do not know."


@dataclass(frozen=True, slots=True)
class _Quirk:
    """What a person does in a way that is nobody else's."""

    text: str
    phrases: Sequence[str]


def _quirk(question: Question, said: Sequence[Segment]) -> _Quirk | None:
    """That about the very thing that a question without hops is about, if a post shown tells it."""
    aspects = question.rubric.aspects
    if not aspects[0].title.startswith(_USE):
        return None
    do = aspects[0].title.removeprefix(_USE)
    for sentence in (sentence for post in posts_shown(said) for sentence in _SENTENCE.split(post)):
        phrases = [_longest(aspect.rejected, sentence) for aspect in aspects]
        if do in sentence and all(phrases):
            return _Quirk(sentence, phrases)
    return None


def _longest(phrases: Sequence[str], text: str) -> str:
    return max((phrase for phrase in phrases if f" {phrase}" in text), key=len, default="")


def _told(question: Question, aspect: Aspect, said: Sequence[Segment]) -> str:
    """The sentence that tells it, and what to take from it."""
    text, value = clean(question.profile.by_id[aspect.documents[0]].text), aspect.accepted[0]
    sentence = next(sentence for sentence in _SENTENCE.split(text) if value in sentence)
    return f"{_quote(said, sentence)}: {value}."


def _quote(said: Sequence[Segment], sentence: str) -> str:
    """With the number of its post and all that the post says before: a reader has to find the post, and then copies."""
    shown = [segment.text for segment in said if segment.author == "environment" and sentence in segment.text]
    line = next(line for line in shown[-1].splitlines() if sentence in line and _DATED.match(line))
    before, _, _ = line.partition(sentence)
    return "\n" + _DATED.sub(r"\1", before) + sentence.rstrip(".")


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
    return [" ".join(sorted(query.split(), key=lambda word: word[0].isupper())) for query in plan_of(question.id)]


def _titles(question: Question) -> list[str]:
    """What a good answer covers; a name is what the question calls its bearer, as only the posts tell it."""
    who, *_ = question.rubric.aspects
    if not who.title.startswith(_WHO):
        return [aspect.title for aspect in question.rubric.aspects]
    role = who.title.removeprefix(_WHO)
    return [aspect.title.replace(who.accepted[0], role) for aspect in question.rubric.aspects]


def demonstrate(questions: QuestionSet, habits: Habits, agents: Mapping[str, float], seed: int) -> list[Trajectory]:
    """One episode a question, played by an agent that is drawn by its share."""
    luck, players = Random(seed), {name: make_agent(name) for name in agents}
    names, shares = list(agents), list(agents.values())
    jobs = [Job(question, players[luck.choices(names, shares)[0]]) for question in questions]
    return asyncio.run(_played(Rollout(Demonstrator(habits), make_retriever("bm25"), seed=seed), jobs))


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
    prompt = fill("plan", FOLDER, question=clean(question.text))
    yield [Segment("environment", prompt), Segment("policy", "\n".join(_titles(question)))]
    *written, last = trajectory.segments  # its searches follow from the plan
    yield [*(Segment("environment", segment.text) for segment in written), last]
