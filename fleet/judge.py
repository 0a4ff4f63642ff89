"""The one judge of a fleet: workers ask it, so that its rates, its budget and its cache hold for all of them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from ..envs.question import Profile, Question
from ..envs.reward import Verdict, plain_verdict
from ..errors import BudgetSpent, JudgeError, RewardError
from ..rewards.judge import Judge, Pair
from ..rewards.registry import make_judge

Reply = Verdict | str  # the reason where there is no verdict


@dataclass(frozen=True, slots=True)
class Spent:
    """No reply: the budget is spent."""

    reason: str


class JudgeDesk:
    """Holds the judge, and answers workers."""

    def __init__(self, spec: str) -> None:
        self._judge: Judge = make_judge(spec)

    def name(self) -> str:
        return self._judge.name

    async def answer(self, pairs: Sequence[Pair]) -> list[Reply] | Spent:
        try:
            found = await self._judge.score_many(pairs)
        except BudgetSpent as error:
            return Spent(str(error))
        return list(map(_reply, found))

    async def close(self) -> None:
        close = getattr(self._judge, "close", None)
        if close is not None:
            await close()


def _reply(found: Verdict | RewardError) -> Reply:
    """With Python's own numbers: a worker does not know the classes of a plug-in."""
    try:
        return str(found) if isinstance(found, RewardError) else plain_verdict(found)
    except RewardError as error:
        return str(error)


@dataclass
class SharedJudge:
    """The judge, from a worker's side. It gets questions without their profiles, which no judge sees."""

    name: str
    ask: Callable[[Sequence[Pair]], Awaitable[list[Reply] | Spent]]

    async def score(self, question: Question, answer: str) -> Verdict:
        (found,) = await self.score_many([(question, answer)])
        if isinstance(found, RewardError):
            raise found
        return found

    async def score_many(self, pairs: Sequence[Pair]) -> list[Verdict | RewardError]:
        replies = await self.ask([(bare(question), answer) for question, answer in pairs])
        if isinstance(replies, Spent):
            raise BudgetSpent(replies.reason)
        return [JudgeError(reply) if isinstance(reply, str) else reply for reply in replies]


def bare(question: Question) -> Question:
    return replace(question, profile=Profile(question.user_id, ()))
