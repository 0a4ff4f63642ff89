"""Continuous batching for a local model: any number of conversations, a limited number of rows per step."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from ...envs.chat import Sampling
from ...errors import ModelError
from .kv_rows import Chunk, KVRows, forward
from .model import Finish
from .sampling import draw
from .stop_criteria import Stops

PREFILL_TOKENS = 2048  # per step; larger prefills are no faster
MAX_LOOP_YIELDS = 10  # for a finished turn's search and its next request
PREFILL_PER_IDLE_STEP = 4  # tokens prefilled in the time that an idle row costs per step
IDLE_SAMPLING = Sampling()


@dataclass(eq=False, slots=True)
class TurnRequest:
    """A turn that is being generated."""

    sampling: Sampling
    stop: tuple[str, ...]
    rng: Random
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: Finish | None = None
    future: "asyncio.Future[None] | None" = None


@dataclass(eq=False, slots=True)
class SequenceState:
    """The tokens of one conversation, and its row in the cache while it has one."""

    tokens: list[int] = field(default_factory=list)
    cached: int = 0  # tokens whose keys and values are in the row
    row: int | None = None
    request: TurnRequest | None = None
    idle_steps: int = 0  # since its last turn
    closed: bool = False


class Decoder:
    """Generates the turns of all sequences together, on the event loop and without a thread.

    A sequence keeps its row between turns, so its tokens are processed once. If others wait for a row, the row that has
    been idle longest is evicted, once its idle steps cost as much as a new prefill. An evicted sequence is prefilled
    again from its exact tokens. A prefix that another row already holds is copied from there.
    """

    def __init__(self, model: Any, stops: Stops, rows: int, context: int | None, prefill: int) -> None:
        self._model, self._stops, self._max_rows, self._context, self._prefill = model, stops, rows, context, prefill
        self._cache = KVRows(rows)
        self._rows: list[SequenceState | None] = []
        self._waiting: deque[SequenceState] = deque()
        self._task: asyncio.Task[None] | None = None

    def close(self, sequence: SequenceState) -> None:
        """Frees the sequence's row."""
        sequence.closed = True
        self._evict(sequence)

    def clear(self) -> None:
        """Frees the cache; sequences that still generate are prefilled again."""
        for sequence in filter(None, self._rows):
            self._evict(sequence)
            if sequence.request:
                self._waiting.append(sequence)
        self._cache.clear()

    async def write(self, sequence: SequenceState, tokens: list[int], request: TurnRequest) -> None:
        """Generates from these tokens until the request has a `finish`."""
        sequence.cached = min(_common_prefix(sequence.tokens, tokens, sequence.cached), len(tokens) - 1)
        sequence.tokens = tokens
        if self._context is not None and len(tokens) >= self._context:
            request.finish = "context"
            return
        loop = asyncio.get_running_loop()
        sequence.request, request.future = request, loop.create_future()
        if sequence.row is None:
            self._waiting.append(sequence)
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._run())
        try:
            await request.future
        finally:
            if sequence.request is request:  # it was cancelled
                sequence.request = None

    async def _run(self) -> None:
        try:
            while (finished := self._next_step()) is not None:
                await asyncio.sleep(0)
                for _ in range(MAX_LOOP_YIELDS):
                    if all(sequence.request or sequence.closed for sequence in finished):
                        break
                    await asyncio.sleep(0)
        except Exception as error:
            self._fail(error)

    def _next_step(self) -> list[SequenceState] | None:
        """Runs one step; the sequences whose turn ended, or None if no sequence generates."""
        import torch

        with torch.inference_mode():
            self._admit()
            return self._step() if any(sequence and sequence.request for sequence in self._rows) else None

    def _admit(self) -> None:
        """Assigns rows to waiting sequences, up to the prefill tokens of one step."""
        to_prefill = 0
        while self._waiting and to_prefill < max(1, self._prefill):
            sequence = self._waiting[0]
            if sequence.request and sequence.row is None:  # not cancelled meanwhile
                row = self._free_row()
                if row is None:
                    break
                self._assign_row(row, sequence)
                to_prefill += len(sequence.tokens) - sequence.cached
            self._waiting.popleft()
        self._compact()

    def _free_row(self) -> int | None:
        if None in self._rows:
            return self._rows.index(None)
        if len(self._rows) < self._max_rows:
            self._rows.append(None)
            return len(self._rows) - 1
        idle = [sequence for sequence in self._rows if sequence and not sequence.request]
        longest = max(idle, key=lambda sequence: sequence.idle_steps, default=None)
        if longest and (longest.idle_steps * PREFILL_PER_IDLE_STEP >= longest.cached or len(idle) == len(self._rows)):
            row = longest.row
            self._evict(longest)
            return row
        return None

    def _assign_row(self, row: int, sequence: SequenceState) -> None:
        tokens, most, donor = sequence.tokens, len(sequence.tokens) - 1, row
        for index, other in enumerate(self._rows):
            if other and other.tokens[: sequence.cached + 1] == tokens[: sequence.cached + 1]:
                shared = _common_prefix(other.tokens, tokens, min(other.cached, most))
                if shared > sequence.cached:
                    sequence.cached, donor = shared, index
        self._cache.reserve(row + 1, sequence.cached)
        self._cache.copy(donor, row, sequence.cached)
        sequence.row, self._rows[row] = row, sequence

    def _evict(self, sequence: SequenceState) -> None:
        if sequence.row is not None:
            self._rows[sequence.row] = None
        sequence.row, sequence.cached = None, 0

    def _compact(self) -> None:
        """Moves the last rows into gaps, as a step processes all rows up to the last."""
        while self._rows and None in self._rows:
            sequence = self._rows.pop()
            if sequence is not None:
                gap = self._rows.index(None)
                self._cache.copy(len(self._rows), gap, sequence.cached)
                sequence.row, self._rows[gap] = gap, sequence

    def _step(self) -> list[SequenceState]:
        """Samples one token for every row whose prefill is complete; the sequences whose turn ended."""
        rows = [sequence for sequence in self._rows if sequence]  # without gaps after `_compact`
        chunks = self._chunks(rows)
        complete = [chunk.end == len(sequence.tokens) for sequence, chunk in zip(rows, chunks, strict=True)]
        turns = [sequence.request if done else None for sequence, done in zip(rows, complete, strict=True)]
        samplings = [turn.sampling if turn else IDLE_SAMPLING for turn in turns]
        rng = [turn.rng.random() if turn else 0.0 for turn in turns]
        drawn = draw(forward(self._model, self._cache, chunks), samplings, rng)
        finished = []
        for sequence, chunk, turn, token, logprob in zip(rows, chunks, turns, *drawn, strict=True):
            if sequence.request is None:
                sequence.idle_steps += 1
                continue
            sequence.cached = chunk.end
            if turn:
                self._add(sequence, turn, token, logprob)
                if turn.finish:
                    self._end(sequence, turn)
                    finished.append(sequence)
        return finished

    def _chunks(self, rows: Sequence[SequenceState]) -> list[Chunk]:
        """Input of each row in this step; an idle row gets one token that is not kept."""
        left, chunks = self._prefill, []
        for sequence in rows:
            if sequence.request is None:
                chunks.append(Chunk(sequence.cached, [0]))
                continue
            chunk = Chunk(sequence.cached, sequence.tokens[sequence.cached : sequence.cached + 1 + left])
            left -= len(chunk.tokens) - 1
            chunks.append(chunk)
        return chunks

    def _add(self, sequence: SequenceState, turn: TurnRequest, token: int, logprob: float) -> None:
        sequence.tokens.append(token)
        turn.tokens.append(token)
        turn.logprobs.append(logprob)
        if self._stops.reached(turn.tokens, turn.stop):
            turn.finish = "stop"
        elif len(turn.tokens) == turn.sampling.max_tokens:
            turn.finish = "length"
        elif len(sequence.tokens) == self._context:
            turn.finish = "context"

    def _end(self, sequence: SequenceState, turn: TurnRequest) -> None:
        sequence.request, sequence.idle_steps = None, 0
        if turn.future and not turn.future.done():  # the caller may have been cancelled
            turn.future.set_result(None)

    def _fail(self, error: Exception) -> None:
        """Fails all turns and drops the cache, whose content is unknown after an error."""
        sequences = [sequence for sequence in (*self._rows, *self._waiting) if sequence]
        self.clear()
        self._waiting.clear()
        for sequence in sequences:
            turn, sequence.request = sequence.request, None
            if turn and turn.future and not turn.future.done():
                turn.future.set_exception(ModelError(_message(error)))


def _message(error: Exception) -> str:
    if isinstance(error, ModelError):
        return str(error)
    advice = "; fewer rows need less memory" if "memory" in f"{type(error).__name__} {error}".lower() else ""
    return f"the model failed: {type(error).__name__}: {error}{advice}"


def _common_prefix(one: Sequence[int], other: Sequence[int], most: int) -> int:
    """The length of the common prefix, at most `most`."""
    most = min(most, len(one), len(other))
    if one[:most] == other[:most]:
        return most
    same, unlike = 0, most
    while unlike - same > 1:
        middle = (same + unlike) // 2
        if one[same:middle] == other[same:middle]:
            same = middle
        else:
            unlike = middle
    return same
