"""Continuous batching: any number of conversations with a local model, at most so many rows in a step."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from ...envs.chat import Sampling
from ...errors import ModelError
from .kv_rows import Feed, KVRows, forward
from .model import Finish
from .sampling import draw
from .stop_criteria import Stops

PREFILL_TOKENS = 2048  # more at once are read no faster
IDLE_ROUNDS = 10  # rounds of the event loop in which a turn's search is made and its episode speaks again
REREAD = 4  # tokens that are read in the time that an idle row costs in one step
IDLE = Sampling()


@dataclass(eq=False, slots=True)
class TurnRequest:
    """A turn while it is written."""

    sampling: Sampling
    stop: tuple[str, ...]
    rng: Random
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: Finish | None = None
    over: "asyncio.Future[None] | None" = None


@dataclass(eq=False, slots=True)
class Row:
    """All tokens of a conversation, and how many of them its row holds, while it has one."""

    tokens: list[int] = field(default_factory=list)
    read: int = 0
    row: int | None = None
    writing: TurnRequest | None = None
    idle: int = 0  # steps since its last turn
    closed: bool = False


class Decoder:
    """Writes the turns of all streams together, on the event loop and without a thread.

    A stream keeps its row between its turns, so nothing is read twice. Where others wait for a row, they get the one
    that has been idle longest, once its idling has cost as much as reading it again will. Who lost a row is read again
    from its exact tokens. What a new row has in common with another one is copied from there.
    """

    def __init__(self, model: Any, stops: Stops, rows: int, context: int | None, read: int) -> None:
        self._model, self._stops, self._most, self._context, self._read = model, stops, rows, context, read
        self._kept = KVRows(rows)
        self._rows: list[Row | None] = []
        self._waiting: deque[Row] = deque()
        self._task: asyncio.Task[None] | None = None

    def close(self, stream: Row) -> None:
        """Its row is free."""
        stream.closed = True
        self._leave(stream)

    def clear(self) -> None:
        """Give back the memory that rows take; whoever needs it again is read again."""
        for stream in filter(None, self._rows):
            self._leave(stream)
            if stream.writing:
                self._waiting.append(stream)
        self._kept.clear()

    async def write(self, stream: Row, tokens: list[int], writing: TurnRequest) -> None:
        """Go on from these tokens until the turn has a `finish`."""
        stream.read = min(_shared(stream.tokens, tokens, stream.read), len(tokens) - 1)
        stream.tokens = tokens
        if self._context is not None and len(tokens) >= self._context:
            writing.finish = "context"
            return
        loop = asyncio.get_running_loop()
        stream.writing, writing.over = writing, loop.create_future()
        if stream.row is None:
            self._waiting.append(stream)
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._run())
        try:
            await writing.over
        finally:
            if stream.writing is writing:  # it was given up
                stream.writing = None

    async def _run(self) -> None:
        try:
            while (over := self._go_on()) is not None:
                await asyncio.sleep(0)
                for _ in range(IDLE_ROUNDS):
                    if all(stream.writing or stream.closed for stream in over):
                        break
                    await asyncio.sleep(0)
        except Exception as error:
            self._fail(error)

    def _go_on(self) -> list[Row] | None:
        """Those whose turn is over after one more step; None when nobody has anything to write."""
        import torch

        with torch.inference_mode():
            self._admit()
            return self._step() if any(stream and stream.writing for stream in self._rows) else None

    def _admit(self) -> None:
        """Gives rows to those who wait, as many as can be read in a step."""
        unread = 0
        while self._waiting and unread < max(1, self._read):
            stream = self._waiting[0]
            if stream.writing and stream.row is None:  # it was not given up meanwhile
                row = self._free_row()
                if row is None:
                    break
                self._take(row, stream)
                unread += len(stream.tokens) - stream.read
            self._waiting.popleft()
        self._compact()

    def _free_row(self) -> int | None:
        if None in self._rows:
            return self._rows.index(None)
        if len(self._rows) < self._most:
            self._rows.append(None)
            return len(self._rows) - 1
        idle = [stream for stream in self._rows if stream and not stream.writing]
        longest = max(idle, key=lambda stream: stream.idle, default=None)
        if longest and (longest.idle * REREAD >= longest.read or len(idle) == len(self._rows)):
            row = longest.row
            self._leave(longest)
            return row
        return None

    def _take(self, row: int, stream: Row) -> None:
        tokens, most, donor = stream.tokens, len(stream.tokens) - 1, row
        for place, other in enumerate(self._rows):
            if other and other.tokens[: stream.read + 1] == tokens[: stream.read + 1]:
                shared = _shared(other.tokens, tokens, min(other.read, most))
                if shared > stream.read:
                    stream.read, donor = shared, place
        self._kept.reserve(row + 1, stream.read)
        self._kept.copy(donor, row, stream.read)
        stream.row, self._rows[row] = row, stream

    def _leave(self, stream: Row) -> None:
        if stream.row is not None:
            self._rows[stream.row] = None
        stream.row, stream.read = None, 0

    def _compact(self) -> None:
        """The last rows move into gaps, as a step takes all rows up to the last."""
        while self._rows and None in self._rows:
            stream = self._rows.pop()
            if stream is not None:
                gap = self._rows.index(None)
                self._kept.copy(len(self._rows), gap, stream.read)
                stream.row, self._rows[gap] = gap, stream

    def _step(self) -> list[Row]:
        """One token more for every row that has read all it was told; those whose turn is over."""
        rows = [stream for stream in self._rows if stream]  # all of them, as ranks are closed
        feeds = self._feeds(rows)
        read = [feed.end == len(stream.tokens) for stream, feed in zip(rows, feeds, strict=True)]
        turns = [stream.writing if all_read else None for stream, all_read in zip(rows, read, strict=True)]
        samplings = [turn.sampling if turn else IDLE for turn in turns]
        rng = [turn.rng.random() if turn else 0.0 for turn in turns]
        drawn = draw(forward(self._model, self._kept, feeds), samplings, rng)
        over = []
        for stream, feed, turn, token, logprob in zip(rows, feeds, turns, *drawn, strict=True):
            if stream.writing is None:
                stream.idle += 1
                continue
            stream.read = feed.end
            if turn:
                self._add(stream, turn, token, logprob)
                if turn.finish:
                    self._end(stream, turn)
                    over.append(stream)
        return over

    def _feeds(self, rows: Sequence[Row]) -> list[Feed]:
        """What each row reads in this step; an idle one reads a token that it does not keep."""
        left, feeds = self._read, []
        for stream in rows:
            if stream.writing is None:
                feeds.append(Feed(stream.read, [0]))
                continue
            feed = Feed(stream.read, stream.tokens[stream.read : stream.read + 1 + left])
            left -= len(feed.tokens) - 1
            feeds.append(feed)
        return feeds

    def _add(self, stream: Row, turn: TurnRequest, token: int, logprob: float) -> None:
        stream.tokens.append(token)
        turn.tokens.append(token)
        turn.logprobs.append(logprob)
        if self._stops.reached(turn.tokens, turn.stop):
            turn.finish = "stop"
        elif len(turn.tokens) == turn.sampling.max_tokens:
            turn.finish = "length"
        elif len(stream.tokens) == self._context:
            turn.finish = "context"

    def _end(self, stream: Row, turn: TurnRequest) -> None:
        stream.writing, stream.idle = None, 0
        if turn.over and not turn.over.done():  # who waited for it may have given up just now
            turn.over.set_result(None)

    def _fail(self, error: Exception) -> None:
        """All turns fail; what rows hold can no longer be trusted."""
        streams = [stream for stream in (*self._rows, *self._waiting) if stream]
        self.clear()
        self._waiting.clear()
        for stream in streams:
            turn, stream.writing = stream.writing, None
            if turn and turn.over and not turn.over.done():
                turn.over.set_exception(ModelError(_what(error)))


def _what(error: Exception) -> str:
    if isinstance(error, ModelError):
        return str(error)
    advice = "; fewer rows take less of it" if "memory" in f"{type(error).__name__} {error}".lower() else ""
    return f"the model failed: {type(error).__name__}: {error}{advice}"


def _shared(one: Sequence[int], other: Sequence[int], most: int) -> int:
    """How many tokens both begin with, at most so many."""
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
