"""A language model behind an OpenAI-compatible endpoint as a policy."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from math import isfinite
from typing import Any, get_args

from ..._util.registry import construct
from ...envs.action import TOOLS
from ...envs.chat import Sampling
from ...envs.question import Question
from ...envs.text import well_formed
from ...envs.trajectory import Segment
from ...errors import EndpointError, ModelError, OptionError
from .accounting import CHARACTERS_A_TOKEN, Estimate
from .endpoint import Endpoint, sampling_fields, usage_of
from .model import STOPS, Finish, Model, Turn
from .openai_formats import FORMATS, FormName

PATH_MISSING = (400, 404, 405, 501)  # HTTP status of a path that a server does not have
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServedRequest:
    segments: Sequence[Segment]
    sampling: Sampling
    stop: tuple[str, ...]
    tools: Sequence[Mapping[str, Any]]


class ServedModel:
    """Writes turns as chat messages, raw completions or native tool calls.

    With form `auto`, episodes in protocol "tools" use tool calls. Other episodes use chat, so that an instruct model
    never gets bare text: `continued` where the server can continue an assistant's message, else `chat`. Raw completions
    are used where the server has no chat, or no chat template for the model. `logprobs` requests the tokens'
    log-probabilities.
    """

    def __init__(self, endpoint: Endpoint, form: FormName = "auto", logprobs: bool = False) -> None:
        if form not in get_args(FormName):
            raise OptionError(f"form={form!r}: give one of {', '.join(map(repr, get_args(FormName)))}")
        self.name = endpoint.name
        self.endpoint = endpoint
        self.form = form
        self.text_form: FormName | None = {"auto": None, "tools": "chat"}.get(form, form)  # None: not yet known
        self._logprobs = logprobs
        self._probe_lock: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None

    def open(self, question: Question, seed: int | None) -> "ServedSession":
        return ServedSession(self, seed)

    async def close(self) -> None:
        await self.endpoint.close()

    async def write(self, request: ServedRequest) -> Turn:
        form = self._form_for(request)
        if form is None:
            async with self._lock():  # concurrent first turns wait for one probe
                form = self._form_for(request)
                if form is None:
                    return await self._probe(request)
        return await self._write(request, form)

    def _form_for(self, request: ServedRequest) -> FormName | None:
        if request.stop == STOPS["tools"] and self.form in ("auto", "tools"):
            return "tools"
        if request.stop and self.form == "tools":
            raise ModelError("form=tools is for episodes with protocol='tools'; leave form out, or name another")
        return self.text_form

    async def _probe(self, request: ServedRequest) -> Turn:
        """The first turn, which finds out which form the endpoint serves."""
        chat: FormName = "continued" if await self.endpoint.is_vllm() else "chat"
        try:
            turn, self.text_form = await self._write(request, chat), chat
        except EndpointError as error:
            if error.status not in PATH_MISSING and (chat == "continued" or not _failed_inside(error)):
                raise
            turn, self.text_form = await self._write(request, "completions"), "completions"
            log.warning("%s has no chat; raw completions are used: %s", self.name, error)
        return turn

    def _lock(self) -> asyncio.Lock:
        loop = asyncio.get_running_loop()
        if self._probe_lock is None or self._probe_lock[0] is not loop:  # a lock belongs to its loop
            self._probe_lock = loop, asyncio.Lock()
        return self._probe_lock[1]

    async def _write(self, request: ServedRequest, form: FormName) -> Turn:
        fmt = FORMATS[form]
        segments = [Segment(one.author, well_formed(one.text)) for one in request.segments]
        asked = fmt.body(segments, request.stop, request.tools)
        body = {"model": self.endpoint.model, **asked, **sampling_fields(request.sampling)}
        if self._logprobs:
            body["logprobs"] = fmt.logprobs_option
        characters = sum(len(segment.text) for segment in segments)
        estimate = Estimate(characters // CHARACTERS_A_TOKEN + 1, request.sampling.max_tokens)
        turn = await self.endpoint.post(fmt.path, body, estimate, partial(_read, form, request))
        return replace(turn, cost=self.endpoint.cost(turn))


class ServedSession:
    """Stateless: every turn sends the whole transcript."""

    def __init__(self, model: ServedModel, seed: int | None) -> None:
        self._model, self._seed = model, seed
        self.tools: Sequence[Mapping[str, Any]] = TOOLS  # an episode's own are set by `offer_tools`

    async def generate(self, segments: Sequence[Segment], sampling: Sampling, stop: Sequence[str]) -> Turn:
        sampling = replace(sampling, seed=turn_seed(self._seed, len(segments)))
        return await self._model.write(ServedRequest(segments, sampling, tuple(stop), self.tools))

    def close(self) -> None:
        """Nothing to release."""


def connect(
    model: str, form: FormName = "auto", logprobs: bool = False, concurrency: int = 256, **endpoint: Any
) -> Model:
    """`openai:MODEL,option=value…`: options of `ServedModel` and of `Endpoint`; `base_url` may be `URL|URL|…`."""
    urls = str(endpoint.pop("base_url", None) or "").split("|")
    if len(set(urls)) < len(urls):
        raise OptionError(f"base_url={'|'.join(urls)}: give each URL once")
    make = partial(construct, Endpoint, f"openai:{model}", connect, model, concurrency=concurrency, **endpoint)
    connected = [make(base_url=url or None) for url in urls]
    models = [ServedModel(one, form, logprobs) for one in connected]
    if len(models) == 1:
        return models[0]
    from .openai_servers import SpreadModel

    return SpreadModel(models)


def _failed_inside(error: EndpointError) -> bool:
    """HTTP 500, try after try: all that `transformers serve` says of a model without a chat template."""
    return "HTTP 500" in str(error)


def _read(form: FormName, request: ServedRequest, reply: Any) -> Turn:
    fmt, choice = FORMATS[form], reply["choices"][0]
    usage = usage_of(reply)
    return Turn(
        fmt.text(choice, request.segments, request.stop),
        logprobs=_known(fmt.logprobs(choice["logprobs"])) if choice.get("logprobs") else None,
        finish=_finish(choice, usage.completion_tokens, request.sampling.max_tokens),
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
    )


def _known(logprobs: list[float] | None) -> list[float] | None:
    """None where one of them is no finite number."""
    return logprobs if logprobs and all(isinstance(one, float | int) and isfinite(one) for one in logprobs) else None


def _finish(choice: Mapping[str, Any], completion_tokens: int | None, max_tokens: int) -> Finish:
    """Servers report `length` both for `max_tokens` and for the end of the context."""
    if choice.get("finish_reason") != "length":
        return "stop"
    return "context" if completion_tokens is not None and completion_tokens < max_tokens else "length"


def turn_seed(seed: int | None, position: int) -> int | None:
    """A different seed for each turn, small enough for every server."""
    if seed is None:
        return None
    return int.from_bytes(blake2b(f"{seed}:{position}".encode(), digest_size=4).digest()) >> 1
