"""Conformance kit for models."""

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

from .._util.sync import run_sync
from ..agents.models.model import STOPS, Model, Turn
from ..envs.chat import Sampling
from ..envs.episode import Episode
from ..envs.question import Question
from ..envs.trajectory import Segment
from .agent_fixtures import hostile, questions
from .kit import Check, ContractViolation, attempt, register

CHECKS: list[Check] = []
_check = partial(register, CHECKS)
STOP = STOPS["tags"]
GREEDY = Sampling(temperature=0.0, max_tokens=48)
DRAWN = Sampling(temperature=1.0, max_tokens=48)
_FEW = 3  # tokens
_BEGUN = "<think>I look for"
T = TypeVar("T")


@_check("name", "A model has a name, which is in its trajectories.", "Set self.name, as hf:PATH.")
def _name(model: Model) -> None:
    if not isinstance(getattr(model, "name", None), str) or not model.name:
        raise ContractViolation(f"the model's name is {getattr(model, 'name', None)!r}")


@_check(
    "writes turns",
    "It writes a Turn, possibly empty, from the prompt of any episode, whatever text the prompt holds.",
    "Return Turn(text, …) from generate; raise ModelError only where there is no turn.",
)
def _writes_turns(model: Model) -> None:
    for question in (*questions()[:3], hostile()):
        _turns(model, [question], DRAWN)


@_check(
    "stops",
    "A turn ends with the first stop string in it.",
    "Stop at each string of `stop`, and add it again where a server removes it.",
)
def _stops(model: Model) -> None:
    for turn in _turns(model, questions(), DRAWN):
        for stop in STOP:
            if stop in turn.text and not turn.text.endswith(STOP):
                raise ContractViolation(f"a turn goes on after {stop!r}: {turn.text[-80:]!r}")


@_check(
    "token budget",
    "A turn has at most sampling.max_tokens tokens; its finish is 'length' where they ran out.",
    "Pass sampling.max_tokens on; set finish='length' where they ran out.",
)
def _token_budget(model: Model) -> None:
    for turn in _turns(model, questions()[:1], Sampling(max_tokens=_FEW)):
        written = turn.completion_tokens if turn.tokens is None else len(turn.tokens)
        if written is not None and written > _FEW:
            raise ContractViolation(f"with max_tokens={_FEW} it wrote {written} tokens: {turn.text[:80]!r}")
        if written == _FEW and turn.finish == "stop" and not turn.text.endswith(STOP):
            raise ContractViolation(
                f"with max_tokens={_FEW} it wrote {written} tokens, and its finish is {turn.finish!r}"
            )


@_check(
    "greedy is repeatable",
    "At temperature 0 the same transcript gives the same turn.",
    "Pass the temperature on, and keep no state between conversations.",
)
def _greedy_is_repeatable(model: Model) -> None:
    asked = questions()[:3]
    _same("again", _turns(model, asked, GREEDY), _turns(model, asked, GREEDY))


@_check(
    "many at once",
    "A conversation has the same turns among others as alone.",
    "Share nothing between sessions but the weights or the connection.",
)
def _many_at_once(model: Model) -> None:
    alone = [turn for question in questions() for turn in _turns(model, [question], GREEDY)]
    _same("among others", alone, _turns(model, questions(), GREEDY))


@_check(
    "tokens",
    "A turn with tokens has a log-probability for each, and the tokens of every segment that was read.",
    "Set tokens, logprobs and segment_tokens, exactly as sampled and read; or none of them.",
)
def _tokens(model: Model) -> None:
    for turn in _turns(model, questions()[:3], DRAWN):
        if turn.tokens is None:
            continue
        if turn.logprobs is None or len(turn.logprobs) != len(turn.tokens):
            told = "no" if turn.logprobs is None else len(turn.logprobs)
            raise ContractViolation(f"a turn has {len(turn.tokens)} tokens and {told} log-probabilities")
        if not all(math.isfinite(value) and value <= 1e-6 for value in turn.logprobs):
            raise ContractViolation(f"a turn has the log-probability {max(turn.logprobs)!r}")
        if turn.segment_tokens is None or len(turn.segment_tokens) != 1 or not turn.segment_tokens[0]:
            raise ContractViolation(f"a turn after one segment has segment_tokens={turn.segment_tokens!r:.80}")


@_check(
    "continues a turn",
    "Where the transcript ends with the policy's own text, it continues that text.",
    "Continue the last segment, or ask the endpoint to.",
)
def _continues(model: Model) -> None:
    _turns(model, questions()[:1], DRAWN, [Segment("policy", _BEGUN)])


@_check(
    "conversations",
    "A conversation continues turn by turn, and can be closed more than once.",
    "Make generate read all of `said`; make close idempotent.",
)
def _conversations(model: Model) -> None:
    async def talk() -> None:
        session = model.open(questions()[0], 0)
        said = _prompt(questions()[0])
        for _ in range(2):
            turn = await session.generate(said, DRAWN, STOP)
            segment_tokens = turn.segment_tokens[-1] if turn.segment_tokens else None
            said[-1] = said[-1]._replace(tokens=segment_tokens)
            said += [Segment("policy", turn.text, turn.tokens, turn.logprobs), Segment("environment", "\nGo on.\n")]
        session.close()
        session.close()

    _waited(talk, "a conversation of two turns")


def _prompt(question: Question) -> list[Segment]:
    return Episode(question).segments


def _turns(model: Model, asked: Sequence[Question], sampling: Sampling, begun: Sequence[Segment] = ()) -> list[Turn]:
    """The first turn of an episode on each question, concurrently, with the same seed."""

    async def turn(question: Question) -> Turn:
        session = model.open(question, 1)
        try:
            return await session.generate([*_prompt(question), *begun], sampling, STOP)
        finally:
            session.close()

    async def all_of_them() -> list[Turn]:
        return await asyncio.gather(*map(turn, asked))

    found = _waited(all_of_them, f"{len(asked)} conversations with {sampling}")
    for one in found:
        if not isinstance(one, Turn) or not isinstance(one.text, str):
            raise ContractViolation(f"generate returned {one!r:.80}, not a Turn with a text")
    return found


def _same(how: str, turns: Sequence[Turn], others: Sequence[Turn]) -> None:
    for one, other in zip(turns, others, strict=True):
        if one.text != other.text:
            raise ContractViolation(f"a greedy turn was {one.text[:80]!r}, and {how} {other.text[:80]!r}")


def _waited(ask: Callable[[], Coroutine[Any, Any, T]], this: str) -> T:
    return attempt(lambda: run_sync(ask()), this)
