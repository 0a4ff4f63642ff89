"""Conformance kit for judges."""

import math
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from .._util.sync import run_sync
from ..envs.reward import Verdict
from ..errors import RewardError
from ..rewards.judge import Judge, Pair, answers_of
from ..rewards.judge_prompts import MATCHES
from .kit import Check, ContractViolation, attempt, register
from .reward_fixtures import empty, hostile, ordinary, question

T = TypeVar("T")
Found = Verdict | RewardError
CHECKS: list[Check] = []
_check = partial(register, CHECKS)
_PREFERENCES = {("4", ""): {1}, ("", "4"): {-1}, ("4", "4"): {0}, ("", ""): {0}, ("4", "5"): {1, -1, 0}}


@_check(
    "name",
    "A judge has a name, which is in its verdicts, so that scores of different judges are told apart.",
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
    "A batch returns a Verdict or an error for each answer; an empty batch returns an empty list.",
    "Return one result per pair, and the error where there is no verdict.",
)
def _one_for_each(judge: Judge) -> None:
    for pairs in (_pairs(), _pairs()[:1], []):
        _judged(judge, pairs)


@_check(
    "judges something",
    "At least one ordinary answer gets a verdict.",
    "See the reason given.",
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
    "score returns what score_many returns for the same answer.",
    "Judge each answer independently; let score_many gather score.",
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
    "A verdict has a match of 0, 1 or 2 per aspect, in the question's order; the score is their sum over the maximum.",
    "Build the verdict from one match per aspect: float(sum(matches) / (2 * len(matches))).",
)
def _metric(judge: Judge) -> None:
    for pair, verdict in _scored(judge, _pairs()):
        matches = [aspect.match for aspect in verdict.aspects]
        if [aspect.title for aspect in verdict.aspects] != [aspect.title for aspect in pair[0].rubric.aspects]:
            raise ContractViolation(f"{_shown(pair)} got the aspects {[aspect.title for aspect in verdict.aspects]}")
        if any(isinstance(match, bool) or match not in MATCHES for match in matches):
            raise ContractViolation(f"{_shown(pair)} got the matches {matches}")
        if isinstance(verdict.score, bool) or not isinstance(verdict.score, int | float):
            raise ContractViolation(f"{_shown(pair)} got a score of the type {type(verdict.score).__name__}")
        if not math.isclose(verdict.score, sum(matches) / (2 * len(matches)), abs_tol=1e-9):
            raise ContractViolation(f"{_shown(pair)} got the score {verdict.score!r} for the matches {matches}")


@_check(
    "empty answers",
    "An empty or blank answer scores 0 and is no error.",
    "Return a verdict of zeros without a call.",
)
def _empty_answers(judge: Judge) -> None:
    pairs = answers_of(empty())
    for pair, found in zip(pairs, _judged(judge, pairs), strict=True):
        if isinstance(found, RewardError) or found.score != 0:
            raise ContractViolation(f"{_shown(pair)} got {found!r}")


@_check(
    "hostile answers",
    "Any text is judged as text, without an exception.",
    "Fill prompts in one pass; avoid patterns that backtrack without bound.",
)
def _hostile_answers(judge: Judge) -> None:
    for pair in answers_of(hostile()):
        _judged(judge, [pair])


@_check(
    "errors stay in place",
    "A question that cannot be judged, such as one without aspects, gets an error; the others keep their verdicts.",
    "Catch the error of each answer separately; score raises it, score_many returns it.",
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
    "prefer returns 1, -1 or 0; any answer beats an empty one, and equal answers tie.",
    "Return 1 for the first, -1 for the second, 0 for a tie; decide empty or equal answers without a call.",
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
    return answers_of(ordinary())


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
    return attempt(lambda: run_sync(ask()), this)


def _same(how: str, pairs: Sequence[Pair], found: Sequence[Found], others: Sequence[Found]) -> None:
    for pair, one, other in zip(pairs, found, others, strict=True):
        scores = [None if isinstance(each, RewardError) else each.score for each in (one, other)]
        if scores[0] != scores[1]:
            raise ContractViolation(f"{_shown(pair)} got {scores[0]!r}, and {how} {scores[1]!r}")


def _shown(pair: Pair) -> str:
    return f"the answer {pair[1][:60]!a}"
