"""The evaluator LLM, asked about one answer aspect by aspect: a verdict or an error, never a made-up score."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, Self, TypeVar, cast

from ..envs.chat import ChatModel, Messages, Sampling
from ..envs.question import Aspect, Question
from ..envs.reward import AspectMatch, Verdict
from ..errors import BudgetSpent, EndpointError, JudgeError, OptionError, RewardError
from .cache import Cache, key_of
from .prompts import PAIR_PROMPT, PROMPT, clean, messages, pair_messages
from .verdict import MATCHES, PREFERENCE_SCHEMA, SCHEMA, Unreadable, parse, parse_preference

SAMPLING = Sampling(temperature=0.0, top_p=0.95, max_tokens=256)
T = TypeVar("T")
WARMER = 0.1  # for each reply that could not be read, as LaMP-QA's evaluator does


Pair = tuple[Question, str]


class Judge(Protocol):
    """Says what an answer is worth to the one who asked. Sees the rubric and the answer, never the profile."""

    name: str

    async def score(self, question: Question, answer: str) -> Verdict:
        """Raises `RewardError` when no verdict can be had, such as a `JudgeError`; never a made-up score.

        A `BudgetSpent` is no such error: it ends the run.
        """
        ...

    async def score_many(self, pairs: Sequence[Pair]) -> Sequence[Verdict | RewardError]:
        """All at once, in order; where a verdict cannot be had, the error stands in its place."""
        ...


class Comparing(Judge, Protocol):
    """A judge that can also set two answers side by side."""

    async def prefer(self, question: Question, first: str, second: str) -> int:
        """1 where the first answer is better, -1 where the second is, 0 where neither; raises as `score` does."""
        ...


async def all_of(asked: Iterable[Awaitable[T]]) -> list[T]:
    """Waits for every one before it raises what went wrong: what was paid for is then in the cache for a second try."""
    found = await asyncio.gather(*asked, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return cast(list[T], found)


@dataclass(frozen=True)
class _Form(Generic[T]):
    """What is asked for: the prompt's version, the shape of a reply, and what one says."""

    prompt: str
    schema: Mapping[str, Any]
    read: Callable[[str], T]


_MATCH = _Form(PROMPT, SCHEMA, parse)
_PREFERENCE = _Form(PAIR_PROMPT, PREFERENCE_SCHEMA, parse_preference)


class Closing:
    """`async with` closes it at its end; what holds connections gives them back in `close`."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """There is nothing to give back."""


class LLMJudge(Closing):
    """LaMP-QA's metric: one call an aspect, matched 0, 1 or 2, summed over twice the number of aspects."""

    def __init__(
        self,
        complete: ChatModel,
        *,
        cache: Cache | None = None,
        offline: bool = False,
        max_replies: int = 4,
        sampling: Sampling = SAMPLING,
    ) -> None:
        if max_replies < 1:
            raise OptionError(f"max_replies={max_replies!r}: a judge needs at least one reply")
        if sampling.max_tokens < 1:
            raise OptionError(f"max_tokens={sampling.max_tokens!r}: give a whole number of at least 1")
        if offline and cache is None:
            raise OptionError("an offline judge answers from its cache alone: name one, cache='judge.sqlite'")
        self.name = complete.name
        self._identity = getattr(complete, "identity", complete.name)
        self._complete, self._cache, self._offline = complete, cache, offline
        self._max_replies, self._sampling = max_replies, sampling

    async def score(self, question: Question, answer: str) -> Verdict:
        """An answer of nothing is worth nothing, without a call."""
        aspects = _aspects(question)
        if not clean(answer):
            return self._verdict([AspectMatch(aspect.title, 0, "the answer is empty") for aspect in aspects])
        return self._verdict(await all_of([self._match(question, answer, aspect) for aspect in aspects]))

    async def score_many(self, pairs: Sequence[Pair]) -> list[Verdict | JudgeError]:
        """A spent budget is raised when all that was asked has its reply, which is then in the cache."""
        found = await asyncio.gather(*[self.score(*pair) for pair in pairs], return_exceptions=True)
        for one in found:
            if isinstance(one, BaseException) and not isinstance(one, JudgeError):
                raise one
        return cast(list[Verdict | JudgeError], found)

    async def prefer(self, question: Question, first: str, second: str) -> int:
        """One call, in this order: whoever minds a favourite place asks in both. Nothing against nothing is no call."""
        _aspects(question)
        one, other = clean(first), clean(second)
        if one == other or not (one and other):
            return bool(one) - bool(other)
        return await self._opinion(_PREFERENCE, pair_messages(question, first, second))

    async def close(self) -> None:
        """Give back the connections of a model that holds some."""
        close = getattr(self._complete, "close", None)
        if close is not None:
            await close()

    @property
    def usage(self) -> Any:
        """What the model took so far; None where it does not tell."""
        return getattr(self._complete, "usage", None)

    def uncached(self) -> "LLMJudge | None":
        """The same model, asked anew each time; None where it must not be asked."""
        if self._offline:
            return None
        return LLMJudge(self._complete, max_replies=self._max_replies, sampling=self._sampling)

    def _verdict(self, matches: Sequence[AspectMatch]) -> Verdict:
        best = max(MATCHES) * len(matches)
        return Verdict(self.name, sum([aspect.match for aspect in matches]) / best, tuple(matches))

    async def _match(self, question: Question, answer: str, aspect: Aspect) -> AspectMatch:
        opinion = await self._opinion(_MATCH, messages(question, answer, aspect))
        return AspectMatch(aspect.title, opinion.match, opinion.reason)

    async def _opinion(self, form: _Form[T], asked: Messages) -> T:
        return form.read(await self._reply(form, asked))

    async def _reply(self, form: _Form[T], asked: Messages) -> str:
        """A reply that can be read, from the cache where there is one."""
        if self._cache is None:
            return await self._ask(form, asked)
        key = key_of(self._identity, form.prompt, self._sampling, asked)
        if not self._offline:
            return await self._cache.get(key, lambda: self._ask(form, asked))
        if (known := self._cache.look_up(key)) is None:
            raise JudgeError(f"not in the cache {str(self._cache.path)!r}: {self.name} was never asked; go online once")
        return known

    async def _ask(self, form: _Form[T], asked: Messages) -> str:
        unread, cut = None, False
        for asked_before in range(self._max_replies):
            try:
                reply = await self._complete(asked, self._warmer(asked_before), form.schema)
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

    def _warmer(self, asked_before: int) -> Sampling:
        """A temperature above 1 stays as it was chosen."""
        chosen = self._sampling.temperature
        return replace(self._sampling, temperature=max(chosen, min(1.0, round(chosen + WARMER * asked_before, 3))))


def _aspects(question: Question) -> Sequence[Aspect]:
    if not question.rubric.aspects:
        raise JudgeError(f"question {question.id!r} has no aspects to judge an answer by")
    return question.rubric.aspects
