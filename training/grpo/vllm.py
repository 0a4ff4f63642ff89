"""Rollouts that vLLM writes, in this process or on a server: TRL runs it, and hands it the weights."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from accelerate.utils import gather_object

from ...agents.models.model import Finish, Turn
from ...agents.models.stop_criteria import Stops
from ...agents.models.tokenize import tokens_of
from ...envs.chat import Sampling
from ...envs.question import Question
from ...envs.trajectory import Segment
from ...errors import ModelError

_BREATHS = 10  # rounds of the event loop in which a turn's search is made and its episode speaks again

Written = tuple[list[int], list[float | None]]  # tokens, with their log-probabilities


@dataclass(eq=False, slots=True)
class _Asked:
    """A turn that somebody waits for."""

    tokens: list[int]
    written: "asyncio.Future[Written]"


class VLLMModel:
    """Goes on with all conversations that wait, round after round.

    Temperature, stop strings and the most tokens of a turn are those that TRL was set up with. Seeds decide nothing:
    vLLM draws for everybody. Where processes share a server, they ask it together (`together`): each takes part in
    every round until nobody has anything to ask.
    """

    name = "vllm"

    def __init__(self, generation: Any, tokenizer: Any, stops: Stops, stop: tuple[str, ...], together: bool) -> None:
        self._generation, self._tokenizer, self._stops, self._stop = generation, tokenizer, stops, stop
        self._together = together
        self._waiting: list[_Asked] = []
        self._task: asyncio.Task[None] | None = None

    def open(self, question: Question, seed: int | None) -> "_Session":
        return _Session(self)

    async def close(self) -> None:
        """vLLM is TRL's."""

    async def turn(self, said: Sequence[Segment], most: int) -> Turn:
        """What comes after all that was said."""
        read = tokens_of(said, self._tokenizer)
        asked = _Asked([token for part in read for token in part], asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._rounds())
        tokens, logprobs = await asked.written
        tokens, logprobs = tokens[:most], logprobs[:most]
        return Turn(
            self._stops.text(tokens),
            tokens,
            None if None in logprobs else logprobs,  # type: ignore[arg-type]
            segment_tokens=read,
            finish=self._finish(tokens, most),
            prompt_tokens=len(asked.tokens),
            completion_tokens=len(tokens),
        )

    def wait_for_others(self) -> None:
        """Whose episodes have all ended still takes part in the rounds of the others."""
        while self._together and self._round([]) is not None:
            pass

    def _finish(self, tokens: Sequence[int], most: int) -> Finish:
        if tokens and self._stops.reached(tokens, self._stop):
            return "stop"
        return "length" if len(tokens) == most else "context"

    async def _rounds(self) -> None:
        while self._waiting:
            await self._everybody()
            asked, self._waiting = self._waiting, []
            try:
                found = self._round([one.tokens for one in asked]) or []
            except Exception as error:
                for one in asked:
                    if one.written.done():  # it was given up
                        continue
                    one.written.set_exception(ModelError(f"vLLM wrote nothing: {error}"))
                continue
            for one, written in zip(asked, found, strict=True):
                if not one.written.done():  # it was given up
                    one.written.set_result(written)
            await asyncio.sleep(0)

    async def _everybody(self) -> None:
        """Until nobody else speaks up."""
        before = 0
        while before < len(self._waiting):
            before = len(self._waiting)
            for _ in range(_BREATHS):
                await asyncio.sleep(0)

    def _round(self, prompts: list[list[int]]) -> list[Written] | None:
        """None when nobody asked."""
        most = max(gather_object([len(prompts)])) if self._together else len(prompts)
        if not most:
            return None
        filler = [[self._tokenizer.eos_token_id]] * (most - len(prompts))  # a server is asked as much by each process
        _, tokens, logprobs, _ = self._generation.generate([*prompts, *filler], None, 1)
        pairs = zip(tokens[: len(prompts)], logprobs[: len(prompts)], strict=True)
        return [(list(said), [first for first, *_ in likely]) for said, likely in pairs]


@dataclass(frozen=True, slots=True)
class _Session:
    """One conversation; vLLM remembers what it read by itself."""

    model: VLLMModel

    async def generate(self, said: Sequence[Segment], sampling: Sampling, stop: Sequence[str]) -> Turn:
        return await self.model.turn(said, sampling.max_tokens)

    def close(self) -> None:
        """There is nothing to give back."""
