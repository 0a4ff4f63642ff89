"""A language model behind an OpenAI-compatible endpoint, asked in the form that it takes."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from typing import Any, Literal, Protocol, get_args

from ...envs.chat import Sampling
from ...envs.question import Question
from ...envs.trajectory import Segment
from ...errors import EndpointError, ModelError, OptionError
from . import chat, completions, tools
from .accounting import CHARACTERS_A_TOKEN, Estimate
from .endpoint import Endpoint, drawn
from .model import STOPS, Finish, Turn

FormName = Literal["auto", "completions", "chat", "tools"]
NOT_THERE = (400, 404, 405, 501)  # what servers say of a path that they do not have
log = logging.getLogger(__name__)


class Form(Protocol):
    """How a turn is asked for and read; each is a module."""

    PATH: str
    LOGPROBS: int  # how log-probabilities are asked for

    def body(self, said: Sequence[Segment], stop: Sequence[str]) -> dict[str, Any]: ...
    def read(self, choice: Mapping[str, Any], said: Sequence[Segment], stop: Sequence[str]) -> str: ...
    def logprobs(self, kept: Mapping[str, Any]) -> list[float]: ...


FORMS: dict[FormName, Form] = {"completions": completions, "chat": chat, "tools": tools}


@dataclass(frozen=True, slots=True)
class Asked:
    """A turn that is wanted."""

    said: Sequence[Segment]
    sampling: Sampling
    stop: tuple[str, ...]


class ServedModel:
    """Writes turns as raw completions, as chat messages, or as native tool calls.

    With `auto`, episodes in protocol "tools" use tool calls; for the others the first turn finds out whether the
    endpoint has raw completions, and chat is used where it has not. `logprobs` asks for those of the tokens.
    """

    def __init__(self, endpoint: Endpoint, form: FormName = "auto", logprobs: bool = False) -> None:
        if form not in get_args(FormName):
            raise OptionError(f"form={form!r}: give one of {', '.join(map(repr, get_args(FormName)))}")
        self.name = endpoint.name
        self.endpoint = endpoint
        self.form = form
        self.text_form: FormName | None = {"auto": None, "tools": "chat"}.get(form, form)  # None: not yet known
        self._logprobs = logprobs
        self._finding: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None

    def open(self, question: Question, seed: int | None) -> "ServedSession":
        return ServedSession(self, seed)

    async def close(self) -> None:
        await self.endpoint.close()

    async def write(self, asked: Asked) -> Turn:
        form = self._known(asked)
        if form is None:
            async with self._one_at_a_time():  # whoever comes meanwhile goes by what the first finds out
                form = self._known(asked)
                if form is None:
                    return await self._find_out(asked)
        return await self._write(asked, form)

    def _known(self, asked: Asked) -> FormName | None:
        if asked.stop == STOPS["tools"] and self.form in ("auto", "tools"):
            return "tools"
        if asked.stop and self.form == "tools":
            raise ModelError("form=tools is for episodes with protocol='tools'; leave form out, or name another")
        return self.text_form

    async def _find_out(self, asked: Asked) -> Turn:
        try:
            turn, self.text_form = await self._write(asked, "completions"), "completions"
        except EndpointError as error:
            if error.status not in NOT_THERE:
                raise
            turn, self.text_form = await self._write(asked, "chat"), "chat"
            log.warning("%s has no raw completions (HTTP %s); it is asked by chat", self.name, error.status)
        return turn

    def _one_at_a_time(self) -> asyncio.Lock:
        loop = asyncio.get_running_loop()
        if self._finding is None or self._finding[0] is not loop:  # a lock belongs to its loop
            self._finding = loop, asyncio.Lock()
        return self._finding[1]

    async def _write(self, asked: Asked, name: FormName) -> Turn:
        form = FORMS[name]
        body = {"model": self.endpoint.model, **form.body(asked.said, asked.stop), **drawn(asked.sampling)}
        if self._logprobs:
            body["logprobs"] = form.LOGPROBS
        characters = sum(len(segment.text) for segment in asked.said)
        estimate = Estimate(characters // CHARACTERS_A_TOKEN + 1, asked.sampling.max_tokens)
        turn = await self.endpoint.post(form.PATH, body, estimate, partial(_read, form, asked))
        return replace(turn, cost=self.endpoint.cost(turn))


class ServedSession:
    """Nothing is remembered: the endpoint is sent the whole transcript, turn by turn."""

    def __init__(self, model: ServedModel, seed: int | None) -> None:
        self._model, self._seed = model, seed

    async def generate(self, said: Sequence[Segment], sampling: Sampling, stop: Sequence[str]) -> Turn:
        sampling = replace(sampling, seed=_seed(self._seed, len(said)))
        return await self._model.write(Asked(said, sampling, tuple(stop)))

    def close(self) -> None:
        """There is nothing to give back."""


def connect(
    model: str, form: FormName = "auto", logprobs: bool = False, concurrency: int = 256, **endpoint: Any
) -> ServedModel:
    """`openai:MODEL,option=value…`: the options are those of the model, then those of its endpoint."""
    try:
        connected = Endpoint(model, concurrency=concurrency, **endpoint)
    except TypeError as error:
        raise OptionError(f"openai:{model}: {error}") from error
    return ServedModel(connected, form, logprobs)


def _read(form: Form, asked: Asked, answer: Any) -> Turn:
    choice = answer["choices"][0]
    usage = answer.get("usage") or {}
    took = usage.get("completion_tokens")
    return Turn(
        form.read(choice, asked.said, asked.stop),
        logprobs=form.logprobs(choice["logprobs"]) if choice.get("logprobs") else None,
        finish=_finish(choice, took, asked.sampling.max_tokens),
        prompt_tokens=usage.get("prompt_tokens"),
        completion_tokens=took,
    )


def _finish(choice: Mapping[str, Any], took: int | None, max_tokens: int) -> Finish:
    """A server calls both "length": the limit that it was given, and the end of what the model can read."""
    if choice.get("finish_reason") != "length":
        return "stop"
    return "context" if took is not None and took < max_tokens else "length"


def _seed(seed: int | None, place: int) -> int | None:
    """Another one for each turn of the episode, as small as every server takes."""
    if seed is None:
        return None
    return int.from_bytes(blake2b(f"{seed}:{place}".encode(), digest_size=4).digest()) >> 1
