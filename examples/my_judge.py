"""A judge of your own: an aspect is met where the answer has the words of its title, and met by half with half of them.

profilegym check judge examples/my_judge.py:make
"""

import re
from collections.abc import Sequence

from profilegym import AspectMatch, Question, Verdict
from profilegym.errors import JudgeError, RewardError


class Words:
    name = "words"

    async def score(self, question: Question, answer: str) -> Verdict:
        aspects = question.rubric.aspects
        if not aspects:  # an answer that cannot be judged is an error, never a score of 0
            raise JudgeError(f"question {question.id!r} has no aspects")
        matches = tuple(AspectMatch(aspect.title, match(aspect.title, answer)) for aspect in aspects)
        return Verdict(self.name, sum(one.match for one in matches) / (2 * len(matches)), matches)

    async def score_many(self, pairs: Sequence[tuple[Question, str]]) -> list[Verdict | RewardError]:
        """An error stands in the place of its verdict, and the others keep theirs."""
        return [await self._verdict_or_error(*pair) for pair in pairs]

    async def _verdict_or_error(self, question: Question, answer: str) -> Verdict | RewardError:
        try:
            return await self.score(question, answer)
        except RewardError as error:
            return error


def match(title: str, answer: str) -> int:
    """0, 1 or 2: not, partly or fully met."""
    wanted, said = set(re.findall(r"\w+", title.lower())), set(re.findall(r"\w+", answer.lower()))
    return 2 * len(wanted & said) // max(1, len(wanted))


def make() -> Words:
    return Words()
