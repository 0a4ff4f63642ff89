"""Driver: attempts at the questions of a data set, one turn at a time, for whatever trains or evaluates the policy."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from secrets import token_hex
from typing import Any

from .._util.sync import in_background, on_background_loop, run_sync
from ..agents.batcher import Batcher
from ..agents.models.model import stops_of
from ..agents.models.openai_formats import messages_of, tool_messages_of
from ..agents.pr2 import PR2, Unpersonalised
from ..agents.turn_format import with_calls
from ..envs.action import TOOLS
from ..envs.batch_step import BatchStepper
from ..envs.data import QuestionSet
from ..envs.episode import Episode
from ..envs.episode_options import checked_options
from ..envs.question import Question
from ..envs.retrieval import Retriever
from ..envs.reward import RewardFunction
from ..envs.tools.running import run_call_async
from ..envs.trajectory import Ended, Kind, Trajectory
from ..errors import BudgetSpent, EpisodeError, OptionError, ProfileGymError
from ..evaluation.summary import figures, score_of
from ..registration import parts_of

Recorded = Callable[[Trajectory], None]
_AGENTS = {"personalised": PR2(), "baseline": Unpersonalised()}


@dataclass(frozen=True)
class Outcome:
    """What an attempt was worth. `reward` is None where it could not be scored, and `unscored` says why.

    `score` is the judge's. `ended` says how it ended: answered, budget, length or error.
    """

    ended: Ended
    reward: float | None
    unscored: str | None
    score: float | None
    _trajectory: Trajectory = field(repr=False)
    _question: Question = field(repr=False)

    @cached_property
    def figures(self) -> Mapping[str, float]:
        """The metrics of `profilegym eval` that are known."""
        known = figures(self._trajectory, self._question, {})
        return {name: float(value) for name, value in known if value is not None}

    def gain(self, control: "Outcome") -> float | None:
        """The score minus that of the control; None where one of the two is unscored."""
        return None if self.score is None or control.score is None else self.score - control.score


class Driver:
    """Makes attempts. `data`, `retriever` and `reward` are specs or objects, the options those of `Episode`.

    Searches and scores of attempts that are played at the same time are batched. A score is asked for as soon as an
    attempt ends, so a group whose attempts end together waits for its judge once. `recorded` is given the record of
    each attempt that ended.
    """

    def __init__(
        self,
        data: Any = "world",
        retriever: str | Retriever = "bm25",
        reward: str | RewardFunction = "rubric",
        *,
        recorded: Recorded | None = None,
        **options: Any,
    ) -> None:
        self.questions: QuestionSet
        self.questions, searching, scoring = parts_of(data, retriever, reward)
        self.recorded = recorded
        self.batcher, self.stepper = Batcher(searching, scoring), BatchStepper(searching, scoring)
        self.searches_inline = getattr(searching, "runs_inline", False)
        self.scores_inline = getattr(scoring, "runs_inline", False)
        self._options = checked_options(options)
        self._numbers, self._prefix = count(), token_hex(4)

    @cached_property
    def tools(self) -> list[Mapping[str, Any]]:
        """The tools of all questions, for protocol "tools".

        Profiles whose documents have other fields have other arguments: those that not all take are optional.
        """
        examples = {question.profile.fields: question.id for question in self.questions}
        functions: dict[str, dict[str, Any]] = {}
        for question_id in examples.values():
            for tool in self.attempt(question_id).tools:
                function = tool["function"]
                known = functions.setdefault(function["name"], dict(function))
                known["parameters"] = _either(known["parameters"], function["parameters"])
        return [{"type": "function", "function": function} for function in functions.values()]

    def attempt(self, question_id: str, kind: Kind = "personalised", name: str | None = None) -> "Attempt":
        """A new attempt at a question. `kind="baseline"` is the control: no searches and no profile.

        `name` tells attempts at one question apart in the records. Raises `DataError` for an unknown question.
        """
        if kind not in _AGENTS:
            raise OptionError(f"kind={kind!r}: give {' or '.join(map(repr, _AGENTS))}")
        question, agent = self.questions.find(question_id), _AGENTS[kind]
        attempt_id = f"{question.id}:{agent.name}:{name or f'{self._prefix}-{next(self._numbers)}'}"
        options = {**self._options, "id": attempt_id, "data": self.questions.spec}
        return Attempt(self, agent.begin(question, **options))


def shared_driver(data: Any, options: Mapping[str, Any]) -> Driver:
    """One for all that ask for the same: a trainer may make a loop for each rollout."""
    key = repr((data if isinstance(data, str) else id(data), sorted(options.items())))
    if key not in _SHARED:
        _SHARED[key] = data, Driver(data, **options)
    return _SHARED[key][1]


_SHARED: dict[str, tuple[Any, Driver]] = {}  # with the data, as the `id` of what is gone is given again


def _either(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters that have the properties of both, and require what both do."""
    required = [name for name in one.get("required", ()) if name in other.get("required", ())]
    return {**one, "properties": {**one["properties"], **other["properties"]}, "required": required}


def _plain(values: Any) -> Any:
    """Python's own numbers, as those of an array cannot be written into a record."""
    return values.tolist() if hasattr(values, "tolist") else values


class Attempt:
    """One attempt at one question. It takes turns until `done`; then `outcome` says what it was worth.

    Our own failures, of a retriever, a tool or a judge, end it unscored. A spent budget is raised by `outcome`.
    """

    def __init__(self, driver: Driver, episode: Episode) -> None:
        self.episode = episode
        self._driver = driver
        self._scoring: Future[None] | None = None
        self._concluded = False  # its score is asked for, or it is recorded

    @property
    def prompt(self) -> str:
        """The task and the question, as the policy reads them first."""
        return self.episode.segments[0].text

    @property
    def done(self) -> bool:
        return self.episode.ended is not None

    @property
    def stops(self) -> tuple[str, ...]:
        """The strings that end a turn of text."""
        return stops_of(self.episode)

    @property
    def tools(self) -> Sequence[Mapping[str, Any]]:
        """The tools as chat models take them, `answer` among them. For protocol "tools"."""
        return TOOLS if self.episode.tools is None else self.episode.tools.schemas

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The transcript so far as chat messages."""
        return (tool_messages_of if self.episode.protocol == "tools" else messages_of)(self.episode.segments)

    def write(self, text: str, tokens: Sequence[int] | None = None, logprobs: Sequence[float] | None = None) -> str:
        """Take a turn of text; gives what the policy reads next, "" at the end. Tokens are kept as they are given."""
        if self._take(text, tokens, logprobs):
            run_sync(self._go_on())
        return self._taken()

    async def write_async(
        self, text: str, tokens: Sequence[int] | None = None, logprobs: Sequence[float] | None = None
    ) -> str:
        if self._take(text, tokens, logprobs):
            await on_background_loop(self._go_on())
        return self._taken()

    def call(self, name: str, arguments: Any, thought: str = "") -> str:
        """Take a turn that is a tool call, in protocol "tools". A mistake in it is answered with a correction."""
        return self.write(self._as_text(name, arguments, thought))

    async def call_async(self, name: str, arguments: Any, thought: str = "") -> str:
        return await self.write_async(self._as_text(name, arguments, thought))

    def stop(self) -> None:
        """End an attempt that a framework's own limit cut off: it is truncated. Harmless where it is done."""
        if not self.done:
            self.episode.truncate()
            self._taken()

    def fail(self, reason: str) -> None:
        """End it unscored, because of a failure that is not the policy's. Harmless where it is done."""
        if not self.done:
            self.episode.fail(reason)
            self._conclude()

    def outcome(self) -> Outcome:
        """Waits for the score of an attempt that is done."""
        if self._scoring is not None:
            self._scoring.result()
        return self._outcome()

    async def outcome_async(self) -> Outcome:
        if self._scoring is not None:
            await asyncio.shield(asyncio.wrap_future(self._scoring))
        return self._outcome()

    def trajectory(self) -> Trajectory:
        """The record so far."""
        found = self.episode.trajectory()
        found.agent = _AGENTS[self.episode.kind].name
        return found

    def _as_text(self, name: str, arguments: Any, thought: str) -> str:
        if self.episode.protocol != "tools":
            raise EpisodeError(
                f"attempt {self.episode.id} takes text with tags, not calls: make the driver with protocol='tools'"
            )
        return with_calls(thought, [(name, arguments, None)])

    def _take(self, text: str, tokens: Sequence[int] | None, logprobs: Sequence[float] | None) -> bool:
        """Takes the turn and makes its searches where that needs no waiting. True if something is still needed."""
        episode = self.episode
        episode.write(text, _plain(tokens), _plain(logprobs))
        with suppress(ProfileGymError):  # it is recorded on the episode
            while episode.needs == "search" and self._driver.searches_inline:
                self._driver.stepper.search_one(episode)
        return episode.needs in ("call", "search")

    async def _go_on(self) -> None:
        """Makes the calls and the searches of the turn."""
        episode = self.episode
        try:
            while episode.needs in ("call", "search"):
                if episode.needs == "call":
                    await run_call_async(episode)
                else:
                    episode.add_hits(*await self._driver.batcher.search(episode))
        except Exception as error:
            if not self.done:  # it may have been stopped meanwhile
                episode.fail(f"{type(error).__name__}: {error}")

    def _taken(self) -> str:
        """What the policy reads next."""
        if self.done and not self._concluded:  # it may have been stopped, and so concluded, while a call ran
            self._conclude()
        return self.episode.observation

    def _conclude(self) -> None:
        """Asks for the score of an attempt that ended, and records it."""
        self._concluded = True
        if self.episode.needs == "score" and self._driver.scores_inline:
            with suppress(ProfileGymError):  # it is recorded on the episode
                self._driver.stepper.score_one(self.episode)
        if self.episode.needs == "score":
            self._scoring = in_background(self._score())
        else:
            self._record()

    async def _score(self) -> None:
        try:
            self.episode.score(await self._driver.batcher.score(self.episode))
        except BudgetSpent as error:
            self.episode.fail(f"{type(error).__name__}: {error}")
            raise
        finally:
            self._record()

    def _record(self) -> None:
        if self._driver.recorded is not None:
            self._driver.recorded(self.trajectory())

    def _outcome(self) -> Outcome:
        reward = self.episode.reward
        if reward is None:
            raise EpisodeError(f"attempt {self.episode.id} is not over: it needs {self.episode.needs}")
        record = self.trajectory()
        assert record.ended is not None
        why = self.episode.error or reward.unscored
        return Outcome(record.ended, reward.total, why, score_of(record), record, self.episode.question)
