"""What every judge promises, as checks that look for a counter-example."""

import math
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from .._util.sync import run_sync
from ..envs.question import Question
from ..envs.reward import Verdict
from ..errors import RewardError
from ..rewards.judge import Judge, Pair
from ..rewards.judge_prompts import MATCHES
from .retriever import Check
from .retriever_assertions import ContractViolation
from .reward_fixtures import empty, hostile, ordinary, question

T = TypeVar("T")
Found = Verdict | RewardError
CHECKS: list[Check] = []
_PREFERENCES = {("4", ""): {1}, ("", "4"): {-1}, ("4", "4"): {0}, ("", ""): {0}, ("4", "5"): {1, -1, 0}}


def _check(name: str, promise: str, fix: str) -> Callable[[Callable[[Any], None]], None]:
    return lambda run: CHECKS.append(Check(name, promise, fix, run))


@_check(
    "name",
    "A judge has a name, which is in its verdicts: scores of different judges are not compared unawares.",
    "Set self.name, as openai:MODEL, and pass it to Verdict.",
)
def _name(judge: Judge) -> None:
    if not isinstance(getattr(judge, "name", None), str) or not judge.name:
        raise ContractViolation(f"the judge's name is {getattr(judge, 'name', None)!r}")
    for pair, verdict in _scored(judge, _pairs()):
        if verdict.judge != judge.name:
            raise ContractViolation(f"{_shown(pair)} got a verdict by {verdict.judge!r} from {judge.name!r}")


@_check(
    "one for each",
    "A batch gets a Verdict or an error for each answer, an empty batch an empty list.",
    "Return one for each pair; put the error where a verdict could not be had.",
)
def _one_for_each(judge: Judge) -> None:
    for pairs in (_pairs(), _pairs()[:1], []):
        _judged(judge, pairs)


@_check(
    "judges something",
    "At least one ordinary answer gets a verdict.",
    "See the reason; a judge that never judges teaches nothing.",
)
def _judges_something(judge: Judge) -> None:
    found = _judged(judge, _pairs())
    if not any(isinstance(one, Verdict) for one in found):
        raise ContractViolation(f"no ordinary answer got a verdict: {found[0]}")


@_check(
    "order",
    "Verdicts come in the order of the answers.",
    "Gather results in order; asyncio.gather keeps it, as_completed does not.",
)
def _order(judge: Judge) -> None:
    _same("in reverse", _pairs(), _judged(judge, _pairs()), _judged(judge, _pairs()[::-1])[::-1])


@_check(
    "batch equals single",
    "An answer gets alone, and by score, what it gets among others.",
    "Judge each answer by itself; let score_many gather score.",
)
def _batch_equals_single(judge: Judge) -> None:
    pairs = _pairs()
    _same("by score", pairs, _judged(judge, pairs), [_alone(judge, pair) for pair in pairs])


@_check(
    "deterministic",
    "The same answer gets the same verdict again.",
    "Set the temperature to 0, or keep verdicts in a cache.",
)
def _deterministic(judge: Judge) -> None:
    _same("again", _pairs(), _judged(judge, _pairs()), _judged(judge, _pairs()))


@_check(
    "metric",
    "A verdict has each aspect in the question's order, matched 0, 1 or 2; the score is their sum over the best sum.",
    "Build the verdict from one match an aspect: sum(matches) / (2 * len(matches)).",
)
def _metric(judge: Judge) -> None:
    for pair, verdict in _scored(judge, _pairs()):
        matches = [aspect.match for aspect in verdict.aspects]
        if [aspect.title for aspect in verdict.aspects] != [aspect.title for aspect in pair[0].rubric.aspects]:
            raise ContractViolation(f"{_shown(pair)} got the aspects {[aspect.title for aspect in verdict.aspects]}")
        if any(isinstance(match, bool) or match not in MATCHES for match in matches):
            raise ContractViolation(f"{_shown(pair)} got the matches {matches}")
        if not math.isclose(verdict.score, sum(matches) / (2 * len(matches)), abs_tol=1e-9):
            raise ContractViolation(f"{_shown(pair)} got the score {verdict.score!r} for the matches {matches}")


@_check(
    "empty answers",
    "An answer of nothing or white space is worth 0, and no error.",
    "Return a verdict of zeros before anything is asked.",
)
def _empty_answers(judge: Judge) -> None:
    pairs = [_pair(episode.question, episode.answer) for episode in empty()]
    for pair, found in zip(pairs, _judged(judge, pairs), strict=True):
        if isinstance(found, RewardError) or found.score != 0:
            raise ContractViolation(f"{_shown(pair)} got {found!r}")


@_check(
    "hostile answers",
    "An answer may be any text, and it is only text.",
    "Fill prompts in one pass; look for no pattern that takes forever.",
)
def _hostile_answers(judge: Judge) -> None:
    for episode in hostile():
        _judged(judge, [_pair(episode.question, episode.answer)])


@_check(
    "errors stay in place",
    "What cannot be judged, as a question without aspects, is an error in its place; the others keep their verdicts.",
    "Catch the error of each answer by itself; score raises it, score_many returns it.",
)
def _errors_stay_in_place(judge: Judge) -> None:
    pairs = _pairs()
    hopeless = (replace(pairs[0][0], rubric=replace(pairs[0][0].rubric, aspects=())), "4")
    found = _judged(judge, [*pairs[:2], hopeless, *pairs[2:]])
    if not isinstance(found[2], RewardError):
        raise ContractViolation(f"a question without aspects got {found[2]!r}")
    if not isinstance(_alone(judge, hopeless), RewardError):
        raise ContractViolation("a question without aspects got a verdict by score")
    _same("beside one that cannot be judged", pairs, _judged(judge, pairs), [*found[:2], *found[3:]])


@_check(
    "preference",
    "A judge that compares says 1, -1 or 0; any answer is better than none, and the same twice is a tie.",
    "Return 1 for the first, -1 for the second, 0 for neither; settle what is empty or equal without a call.",
)
def _preference(judge: Any) -> None:
    if not hasattr(judge, "prefer"):
        return
    asked = question(40)
    for (first, second), places in _PREFERENCES.items():
        this = f"prefer({first!r}, {second!r})"
        place = _waited(partial(judge.prefer, asked, first, second), this)
        if isinstance(place, bool) or place not in places:
            raise ContractViolation(f"{this} gave {place!r}")


def _pairs() -> list[Pair]:
    return [_pair(episode.question, episode.answer) for episode in ordinary()]


def _pair(asked: Question, answer: str | None) -> Pair:
    return asked, answer or ""


def _scored(judge: Judge, pairs: Sequence[Pair]) -> list[tuple[Pair, Verdict]]:
    found = zip(pairs, _judged(judge, pairs), strict=True)
    return [(pair, one) for pair, one in found if isinstance(one, Verdict)]


def _judged(judge: Judge, pairs: Sequence[Pair]) -> list[Found]:
    this = f"a batch of {len(pairs)}" if len(pairs) != 1 else _shown(pairs[0])
    found = _waited(partial(judge.score_many, pairs), this)
    if not isinstance(found, list | tuple) or not all(isinstance(one, Verdict | RewardError) for one in found):
        raise ContractViolation(f"{this} gave {str(found)[:80]!r}, which is no list of Verdict or RewardError")
    if len(found) != len(pairs):
        raise ContractViolation(f"{this} gave {len(found)} verdicts")
    return list(found)


def _alone(judge: Judge, pair: Pair) -> Found:
    async def score() -> Found:
        try:
            return await judge.score(*pair)
        except RewardError as error:
            return error

    return _waited(score, _shown(pair))


def _waited(ask: Callable[[], Coroutine[Any, Any, T]], this: str) -> T:
    """One call, whose every failure is a counter-example."""
    try:
        return run_sync(ask())
    except Exception as error:
        raise ContractViolation(f"{this} raised {type(error).__name__}: {str(error)[:200]!r}") from error


def _same(how: str, pairs: Sequence[Pair], found: Sequence[Found], others: Sequence[Found]) -> None:
    for pair, one, other in zip(pairs, found, others, strict=True):
        scores = [None if isinstance(each, RewardError) else each.score for each in (one, other)]
        if scores[0] != scores[1]:
            raise ContractViolation(f"{_shown(pair)} got {scores[0]!r}, and {how} {scores[1]!r}")


def _shown(pair: Pair) -> str:
    return f"the answer {pair[1][:60]!a}"
