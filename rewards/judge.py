"""The evaluator LLM, asked about one answer aspect by aspect: a verdict or an error, never a made-up score."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from ..envs.completion import Complete, Messages, Sampling
from ..envs.errors import EndpointError, JudgeError, OptionError
from ..envs.question import Aspect, Question
from ..envs.reward import AspectMatch, Verdict
from .cache import Cache, key_of
from .prompts import PROMPT, clean, messages
from .verdict import MATCHES, SCHEMA, Unreadable, parse

SAMPLING = Sampling(temperature=0.0, top_p=0.95, max_tokens=256)
WARMER = 0.1  # for each reply that could not be read, as LaMP-QA's evaluator does


class Judge(Protocol):
    """Says what an answer is worth to the one who asked. Sees the rubric and the answer, never the profile."""

    name: str

    async def score(self, question: Question, answer: str) -> Verdict:
        """Raises `JudgeError` when no verdict can be had."""
        ...

    async def score_many(self, pairs: Sequence[tuple[Question, str]]) -> list[Verdict | JudgeError]:
        """All at once, in order; one that fails takes no other with it."""
        ...


class LLMJudge:
    """LaMP-QA's metric: one call an aspect, matched 0, 1 or 2, summed over twice the number of aspects."""

    def __init__(
        self,
        complete: Complete,
        *,
        cache: Cache | None = None,
        offline: bool = False,
        attempts: int = 4,
        sampling: Sampling = SAMPLING,
    ) -> None:
        if attempts < 1:
            raise OptionError(f"a judge needs at least one attempt, not {attempts}")
        if offline and cache is None:
            raise OptionError("an offline judge answers from its cache alone: name one, cache='judge.sqlite'")
        self.name = complete.name
        self._complete, self._cache, self._offline = complete, cache, offline
        self._attempts, self._sampling = attempts, sampling

    async def score(self, question: Question, answer: str) -> Verdict:
        """An answer of nothing is worth nothing, without a call."""
        aspects = question.rubric.aspects
        if not aspects:
            raise JudgeError(f"question {question.id!r} has no aspects to judge an answer by")
        if not clean(answer):
            return self._verdict([AspectMatch(aspect.title, 0, "the answer is empty") for aspect in aspects])
        # Every aspect is waited for, as what was paid for is in the cache when the answer is judged again.
        asked = [self._match(question, answer, aspect) for aspect in aspects]
        found = await asyncio.gather(*asked, return_exceptions=True)
        for match in found:
            if isinstance(match, BaseException):
                raise match
        return self._verdict([match for match in found if isinstance(match, AspectMatch)])

    async def score_many(self, pairs: Sequence[tuple[Question, str]]) -> list[Verdict | JudgeError]:
        return await asyncio.gather(*[self._score_or_error(*pair) for pair in pairs])

    async def close(self) -> None:
        """Give back the connections of a model that holds some."""
        close = getattr(self._complete, "close", None)
        if close is not None:
            await close()

    async def _score_or_error(self, question: Question, answer: str) -> Verdict | JudgeError:
        try:
            return await self.score(question, answer)
        except JudgeError as error:
            return error

    def _verdict(self, matches: Sequence[AspectMatch]) -> Verdict:
        best = max(MATCHES) * len(matches)
        return Verdict(self.name, sum([aspect.match for aspect in matches]) / best, tuple(matches))

    async def _match(self, question: Question, answer: str, aspect: Aspect) -> AspectMatch:
        opinion = parse(await self._reply(messages(question, answer, aspect)))
        return AspectMatch(aspect.title, opinion.match, opinion.reason)

    async def _reply(self, asked: Messages) -> str:
        """A reply that can be read, from the cache where there is one."""
        if self._cache is None:
            return await self._ask(asked)
        key = key_of(self.name, PROMPT, self._sampling, asked)
        if not self._offline:
            return await self._cache.get(key, lambda: self._ask(asked))
        if (known := self._cache.look_up(key)) is None:
            raise JudgeError(f"not in the cache {str(self._cache.path)!r}: {self.name} was never asked; go online once")
        return known

    async def _ask(self, asked: Messages) -> str:
        unread = None
        for attempt in range(self._attempts):
            try:
                reply = await self._complete(asked, self._warmer(attempt), SCHEMA)
                parse(reply.text)
            except EndpointError as error:
                raise JudgeError(f"{self.name} gave no reply: {error}") from error
            except Unreadable as error:
                unread = error
            else:
                return reply.text
        raise JudgeError(f"{self.name}, asked {self._attempts} times: {unread}") from unread

    def _warmer(self, attempt: int) -> Sampling:
        return replace(self._sampling, temperature=min(1.0, round(self._sampling.temperature + WARMER * attempt, 3)))
