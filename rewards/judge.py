"""Judges: the protocol, an evaluator LLM that judges aspect by aspect, and the reward made of a judge's score."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, cast

from .._util.sync import in_thread
from ..envs.chat import ChatModel, Messages, Sampling
from ..envs.episode import Episode
from ..envs.question import Aspect, Question
from ..envs.reward import AspectMatch, Reward, Verdict
from ..errors import BudgetSpent, EndpointError, JudgeError, OptionError, RewardError
from .cache import Cache, key_of
from .judge_attacks import flags, reads_new_profile
from .judge_prompts import (
    ASPECT_PROMPT,
    MATCHES,
    PAIR_PROMPT,
    PREFERENCE_SCHEMA,
    SCHEMA,
    Opinion,
    Unreadable,
    clean,
    pair_messages,
    parse_preference,
)
from .registry import make_judge

SAMPLING = Sampling(temperature=0.0, top_p=0.95, max_tokens=256)
WARMER = 0.1  # added to the temperature after each unreadable reply, as LaMP-QA's evaluator does
Pair = tuple[Question, str]
T = TypeVar("T")


class Judge(Protocol):
    """Scores an answer for the user who asked. Sees the rubric and the answer, never the profile."""

    name: str

    async def score(self, question: Question, answer: str) -> Verdict:
        """Raises `RewardError`, such as `JudgeError`, where there is no verdict; never invents a score.

        `BudgetSpent` is not a `RewardError`: it ends the run.
        """
        ...

    async def score_many(self, pairs: Sequence[Pair]) -> Sequence[Verdict | RewardError]:
        """Judges concurrently and returns in order; an answer without a verdict gets its error."""
        ...


class Comparing(Judge, Protocol):
    """A judge that can also compare two answers."""

    async def prefer(self, question: Question, first: str, second: str) -> int:
        """1 where the first answer is better, -1 where the second is, 0 for a tie; raises as `score` does."""
        ...


@dataclass(frozen=True)
class Score:
    """The judge's score; an answer that could not be judged stays unscored, with the judge's reason."""

    judge: Judge
    parts_sum: ClassVar = True

    async def __call__(self, episodes: Sequence[Episode]) -> list[Reward]:
        verdicts = await self.judge.score_many(answers_of(episodes))
        if any(reads_new_profile(*pair) for pair in answers_of(episodes)):
            return await in_thread(_judged, episodes, verdicts)
        return _judged(episodes, verdicts)


def score(judge: str | Judge = "rubric", **options: Any) -> Score:
    return Score(make_judge(judge, **options))


def answers_of(episodes: Sequence[Episode]) -> list[Pair]:
    """The questions and answers to judge; a missing answer counts as an empty one."""
    return [(episode.question, episode.answer or "") for episode in episodes]


def _judged(episodes: Sequence[Episode], verdicts: Sequence[Verdict | RewardError]) -> list[Reward]:
    return [judged(*pair) for pair in zip(episodes, verdicts, strict=True)]


def judged(episode: Episode, verdict: Verdict | RewardError) -> Reward:
    """The score alone, with the flags of the answer."""
    found = flags(episode.question, episode.answer or "")
    if isinstance(verdict, RewardError):
        return Reward(None, unscored=str(verdict), flags=found)
    return Reward(verdict.score, {"score": verdict.score}, verdict, flags=found)


class Prompt(Protocol):
    """What an evaluator is asked about one aspect, and how its reply is read."""

    @property
    def version(self) -> str: ...

    @property
    def system(self) -> str | None: ...

    def messages(self, question: Question, answer: str, aspect: Aspect) -> Messages: ...

    def read(self, reply: str) -> Opinion:
        """Raises `Unreadable` where there is no verdict."""
        ...


class Closing:
    """An async context manager that calls `close` at its end."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Release connections; here there are none."""


@dataclass(frozen=True)
class _Form(Generic[T]):
    """One kind of call: the prompt's version, the reply's schema, and the function that reads a reply."""

    prompt: str
    schema: Mapping[str, Any] | None
    read: Callable[[str], T]


_PREFERENCE = _Form(PAIR_PROMPT, PREFERENCE_SCHEMA, parse_preference)


class LLMJudge(Closing):
    """LaMP-QA's metric: one call per aspect, each matched 0, 1 or 2, summed and divided by twice their number."""

    def __init__(
        self,
        complete: ChatModel,
        *,
        cache: Cache | None = None,
        offline: bool = False,
        max_replies: int = 4,
        sampling: Sampling = SAMPLING,
        prompt: Prompt = ASPECT_PROMPT,
    ) -> None:
        if max_replies < 1:
            raise OptionError(f"max_replies={max_replies!r}: a judge needs at least one reply")
        if sampling.max_tokens < 1:
            raise OptionError(f"max_tokens={sampling.max_tokens!r}: give a whole number of at least 1")
        if offline and cache is None:
            raise OptionError("an offline judge answers from its cache alone: name one, cache='judge.sqlite'")
        self.name = complete.name if prompt is ASPECT_PROMPT else f"{complete.name},prompt={prompt.version}"
        schema = SCHEMA if prompt.system else None  # a published prompt is asked as it was published
        self._prompt, self._match_form = prompt, _Form(prompt.version, schema, prompt.read)
        self._identity = getattr(complete, "identity", complete.name)
        self._complete, self._cache, self._offline = complete, cache, offline
        self._max_replies, self._sampling = max_replies, sampling

    async def score(self, question: Question, answer: str) -> Verdict:
        """An empty answer scores 0 without a call."""
        aspects = _aspects(question)
        if not clean(answer):
            return self._verdict([AspectMatch(aspect.title, 0, "the answer is empty") for aspect in aspects])
        return self._verdict(await _all_of([self._match(question, answer, aspect) for aspect in aspects]))

    async def score_many(self, pairs: Sequence[Pair]) -> list[Verdict | JudgeError]:
        """Raises a spent budget only after all calls have ended, so that their replies are in the cache."""
        found = await asyncio.gather(*[self.score(*pair) for pair in pairs], return_exceptions=True)
        for one in found:
            if isinstance(one, BaseException) and not isinstance(one, JudgeError):
                raise one
        return cast(list[Verdict | JudgeError], found)

    async def prefer(self, question: Question, first: str, second: str) -> int:
        """One call, in this order; ask in both orders to control for position bias. An empty answer needs no call."""
        _aspects(question)
        one, other = clean(first), clean(second)
        if one == other or not (one and other):
            return bool(one) - bool(other)
        return await self._opinion(_PREFERENCE, pair_messages(question, first, second))

    async def close(self) -> None:
        """Release the model's connections."""
        close = getattr(self._complete, "close", None)
        if close is not None:
            await close()

    @property
    def usage(self) -> Any:
        """The model's usage so far; None where it reports none."""
        return getattr(self._complete, "usage", None)

    def uncached(self) -> "LLMJudge | None":
        """The same judge without its cache; None for an offline one."""
        if self._offline:
            return None
        return LLMJudge(self._complete, max_replies=self._max_replies, sampling=self._sampling, prompt=self._prompt)

    def _verdict(self, matches: Sequence[AspectMatch]) -> Verdict:
        best = max(MATCHES) * len(matches)
        return Verdict(self.name, sum([aspect.match for aspect in matches]) / best, tuple(matches))

    async def _match(self, question: Question, answer: str, aspect: Aspect) -> AspectMatch:
        opinion = await self._opinion(self._match_form, self._prompt.messages(question, answer, aspect))
        return AspectMatch(aspect.title, opinion.match, opinion.reason)

    async def _opinion(self, form: _Form[T], asked: Messages) -> T:
        return form.read(await self._reply(form, asked))

    async def _reply(self, form: _Form[T], asked: Messages) -> str:
        """A readable reply, from the cache where possible."""
        if self._cache is None:
            return await self._ask(form, asked)
        key = key_of(self._identity, form.prompt, self._sampling, asked)
        if not self._offline:
            return await self._cache.get(key, lambda: self._ask(form, asked))
        if (known := self._cache.look_up(key)) is None:
            raise JudgeError(
                f"the cache {str(self._cache.path)!r} has no reply of {self.name} to this: run once without offline"
            )
        return known

    async def _ask(self, form: _Form[T], asked: Messages) -> str:
        unread, cut = None, False
        for tries in range(self._max_replies):
            try:
                reply = await self._complete(asked, self._warmer(tries), form.schema)
                cut = (reply.completion_tokens or 0) >= self._sampling.max_tokens
                form.read(reply.text)
            except BudgetSpent:
                raise
            except EndpointError as error:
                raise JudgeError(f"{self.name} gave no reply: {error}") from error
            except Unreadable as error:
                unread = error
            else:
                return reply.text
        fix = f"; it was cut off at max_tokens={self._sampling.max_tokens}: allow more" if cut else ""
        raise JudgeError(f"{self.name}, asked {self._max_replies} times: {unread}{fix}") from unread

    def _warmer(self, tries: int) -> Sampling:
        """The temperature rises to 1 at most; one that was chosen above 1 stays."""
        chosen = self._sampling.temperature
        return replace(self._sampling, temperature=max(chosen, min(1.0, round(chosen + WARMER * tries, 3))))


async def _all_of(calls: Iterable[Awaitable[T]]) -> list[T]:
    """Waits for all calls before it raises the first error, so that paid replies reach the cache."""
    found = await asyncio.gather(*calls, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return cast(list[T], found)


def _aspects(question: Question) -> Sequence[Aspect]:
    if not question.rubric.aspects:
        raise JudgeError(f"question {question.id!r} has no aspects to judge an answer by")
    return question.rubric.aspects
