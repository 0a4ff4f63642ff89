"""Client of an OpenAI-compatible endpoint: concurrent calls, retries, limits and accounting."""

import asyncio
import json
import logging
import os
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar
from weakref import finalize

from ..._util.keys import hidden, without_key
from ...envs.chat import ChatReply, Messages, Sampling
from ...errors import EndpointError, MissingExtra, OptionError
from .accounting import Estimate, ReportsUsage, Usage, UsageLedger
from .failures import SCHEMA, Permanent, Retryable, failure, notice, refused_field, reply_error, without
from .limits import AdaptiveLimiter, CircuitBreaker, RateLimiter
from .openai_formats import content_text

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from tenacity import AsyncRetrying, RetryCallState

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between tries: doubling, with up to 25 % jitter
OPENAI = "https://api.openai.com/v1"  # the default, as in OpenAI's own clients
log = logging.getLogger(__name__)
R = TypeVar("R", bound=ReportsUsage)


@dataclass(slots=True)
class _Call(Generic[R]):
    path: str
    body: dict[str, Any]
    estimate: Estimate
    read: Callable[[Any], R]
    left: float  # seconds of the deadline; waiting for a slot does not count
    tries: int = 0


_PROBE_SECONDS = 5.0


class Endpoint:
    """A model behind an OpenAI-compatible endpoint, for the calls of one event loop at a time.

    `timeout` is for one try, `deadline` for a call with all its retries. `extra_body` adds fields to every request: a
    mapping, JSON text, or the path of a JSON file. Prices and budget are in one currency, prices per million tokens.
    `await close()` or `async with` closes its connections.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        concurrency: int = 64,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        timeout: float = 60.0,
        deadline: float = 300.0,
        attempts: int = 6,
        extra_body: Mapping[str, Any] | str | None = None,
        budget: float | None = None,
        price_in: float | None = None,
        price_out: float | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not (find_spec("openai") and find_spec("aiohttp")):
            raise MissingExtra(f"openai:{model}", "endpoint")
        positive = {"concurrency": concurrency, "timeout": timeout, "deadline": deadline, "attempts": attempts}
        limits = {"requests_per_minute": requests_per_minute, "tokens_per_minute": tokens_per_minute, "budget": budget}
        for option, value in (positive | limits).items():
            if value is not None and value <= 0:
                raise OptionError(f"{option}={value!r} must be more than 0")
        self.model, self.name = model, f"openai:{model}"
        self.url = _url(base_url, api_key)
        self._where = hidden(self.url)
        self.extra_body = _extra_fields(extra_body)
        self.refused: set[str] = set()  # fields that the endpoint is known to reject
        self.only_busy = False  # repeat only what was refused for its rate: another endpoint may answer the rest
        self.limiter = AdaptiveLimiter(concurrency)
        self.breaker = CircuitBreaker(self._where, clock)
        self._key = _key(api_key)
        self._schema_accepted = False  # unknown before one was sent
        self._requests, self._tokens = RateLimiter(requests_per_minute, clock), RateLimiter(tokens_per_minute, clock)
        self._ledger = UsageLedger(price_in, price_out, budget)
        self._timeout, self._deadline, self._attempts = timeout, deadline, attempts
        self._sleep, self._clock = sleep, clock
        self._retrying: AsyncRetrying | None = None
        self._client: asyncio.Task[AsyncOpenAI] | None = None
        self._open: AsyncGenerator[None, None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"Endpoint({self.model!r}, base_url={self._where!r})"

    @property
    def identity(self) -> str:
        """What determines a reply besides the request: name, URL and extra fields; part of cache keys."""
        return json.dumps([self.name, self.url, self.extra_body], sort_keys=True)

    @property
    def usage(self) -> Usage:
        return self._ledger.usage

    def share_limits(self, other: "Endpoint") -> None:
        """Counts calls, tokens and costs together with another endpoint."""
        self._requests, self._tokens, self._ledger = other._requests, other._tokens, other._ledger

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._client is not None:
            await self._client
            opened, self._client, self._open = self._open, None, None
            if opened is not None:
                await opened.aclose()

    async def __call__(
        self, messages: Messages, sampling: Sampling, schema: Mapping[str, Any] | None = None
    ) -> ChatReply:
        body = _body(self.model, messages, sampling, schema)
        return await self.post("/chat/completions", body, Estimate.of(messages, sampling.max_tokens), _read)

    async def post(self, path: str, body: dict[str, Any], estimate: Estimate, read: Callable[[Any], R]) -> R:
        """Sends any request with retries, limits and accounting; `read` parses the JSON of the reply.

        An exception of `read` means an unreadable reply and is retried, except a `Permanent`.
        """
        call = _Call(path, {**body, **self.extra_body}, estimate, read, self._deadline)
        if self._retrying is None:
            self._retrying = self._retry_policy()
        await self._connected()  # not part of a try's time
        try:
            return await self._retrying.copy()(self._try, call)
        except Retryable as error:
            status = None
            tries = "one try" if call.tries == 1 else f"{call.tries} tries"
            problem = f"no reply from {self.name} at {self._where} after {tries}: {error}"
        except Permanent as error:
            status = error.status
            problem = f"{self.name} at {self._where} refuses: {error}"
        raise EndpointError(without_key(self._key, problem), status)

    async def get(self, path: str, timeout: float) -> Any:
        """The JSON at a path below the base URL, or at a URL; one try, outside the limits."""
        client = await self._connected()
        try:
            async with asyncio.timeout(timeout):
                return await client.get(path, cast_to=object)
        except Exception as error:
            problem = failure(error, timeout)
            told = without_key(self._key, f"GET {path} of {self._where}: {problem}")
            raise EndpointError(told, problem.status) from None

    async def is_vllm(self) -> bool:
        """Whether vLLM answers here: it alone tells its version beside `/v1`."""
        try:
            found = await self.get(f"{self.url.removesuffix('/v1')}/version", _PROBE_SECONDS)
        except EndpointError:  # whatever is wrong shows in the first request that matters
            return False
        return isinstance(found, dict) and "version" in found

    def cost(self, reply: ReportsUsage) -> float | None:
        """Cost of one reply; None without prices or reported usage."""
        return self._ledger.cost(reply.prompt_tokens, reply.completion_tokens)

    async def _try(self, call: _Call[R]) -> R:
        """One try, within concurrency limit, circuit breaker, budget and rates."""
        ticket = await self.limiter.enter(ahead=call.tries > 0)
        try:
            self.breaker.check()
            with self._ledger.reserved(call.estimate):
                await self._wait_for_rates(call.estimate)
                reply = await self._ask(call, ticket)
                self._ledger.received(reply)
        finally:
            self.limiter.leave()
        if reply.prompt_tokens is not None and reply.completion_tokens is not None:
            self._tokens.give_back(call.estimate.tokens - reply.prompt_tokens - reply.completion_tokens)
        return reply

    async def _wait_for_rates(self, estimate: Estimate) -> None:
        if pause := max(self._requests.take(1), self._tokens.take(estimate.tokens)):
            try:
                await self._sleep(pause)
            except BaseException:  # a call that is cancelled here is never sent
                self._requests.give_back(1)
                self._tokens.give_back(estimate.tokens)
                raise

    async def _ask(self, call: _Call[R], ticket: int) -> R:
        """Sends one request and records the outcome for limiter and breaker."""
        call.tries += 1
        if call.tries > 1:
            self._ledger.retried()
        start = self._clock()
        try:
            async with asyncio.timeout(min(self._timeout, call.left)):
                reply = await self._without_refused(call)
        except Exception as error:
            problem = failure(error, min(self._timeout, call.left))
            self._note(problem, ticket)
            raise problem from None
        finally:
            call.left -= self._clock() - start
        self.breaker.succeeded()
        self.limiter.succeeded()
        return reply

    def _note(self, problem: Retryable | Permanent, ticket: int) -> None:
        if isinstance(problem, Permanent) or problem.busy:  # it is reachable
            self.breaker.succeeded()
        else:
            self.breaker.failed()
        if isinstance(problem, Retryable) and problem.busy:
            self.limiter.back_off(ticket)

    async def _without_refused(self, call: _Call[R]) -> R:
        """Sends the request without fields that the endpoint rejects, and remembers these."""
        refused = set(self.refused)
        while True:
            body = without(call.body, refused)
            try:
                reply = await self._send(call, body)
            except Exception as error:
                field = refused_field(error, body, self._schema_accepted)
                if field is None:
                    raise
                refused.add(field)
            else:
                self._schema_accepted = self._schema_accepted or SCHEMA in body
                self._remember(refused)
                return reply

    def _remember(self, refused: set[str]) -> None:
        """Called after a successful reply without these fields."""
        for field in sorted(refused - self.refused):
            message = "%s at %s does not support %s: %s"
            log.warning(message, self.name, self._where, field, notice(field))
        self.refused |= refused

    async def _send(self, call: _Call[R], body: dict[str, Any]) -> R:
        # The generic method: `chat.completions.create` spends time on its typed parameters.
        answer: Any = await (await self._connected()).post(call.path, body=body, cast_to=object)
        if (problem := reply_error(answer)) is not None:
            raise problem
        try:
            return call.read(answer)
        except Exception:
            if (billed := usage_of(answer)).completion_tokens is not None:
                self._ledger.received(billed)
            raise

    async def _connected(self) -> "AsyncOpenAI":
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:  # a connection belongs to its loop
            self._client, self._loop = loop.create_task(self._connect()), loop
        return await asyncio.shield(self._client)

    async def _connect(self) -> "AsyncOpenAI":
        client = await asyncio.to_thread(self._new_client)  # takes half a second, so not on the event loop
        self._open = _close_with_loop(client)
        await anext(self._open)
        finalize(self, _close_on_loop, client, asyncio.get_running_loop()).atexit = False
        return client

    def _new_client(self) -> "AsyncOpenAI":
        import openai

        try:
            http = openai.DefaultAioHttpClient()
        except RuntimeError as error:  # openai is installed without its aiohttp extra
            raise MissingExtra(self.name, "endpoint") from error
        return openai.AsyncOpenAI(
            base_url=self.url, api_key=self._key, max_retries=0, timeout=self._timeout, http_client=http
        )

    def _retry_policy(self) -> "AsyncRetrying":
        from tenacity import AsyncRetrying, retry_if_exception

        return AsyncRetrying(
            retry=retry_if_exception(self._repeats), wait=_pause, stop=self._give_up, before_sleep=_charge_pause,
            sleep=self._sleep, reraise=True,
        )  # fmt: skip

    def _repeats(self, error: BaseException) -> bool:
        return isinstance(error, Retryable) and (error.busy or not self.only_busy)

    def _give_up(self, state: "RetryCallState") -> bool:
        return state.attempt_number >= self._attempts or _call(state).left <= state.upcoming_sleep


async def _close_with_loop(client: "AsyncOpenAI") -> AsyncGenerator[None, None]:
    """Closes the client at the latest when the loop shuts down, as a loop then closes its generators."""
    try:
        yield
    finally:
        await client.close()


def _close_on_loop(client: "AsyncOpenAI", loop: asyncio.AbstractEventLoop) -> None:
    """Closes the client of a garbage-collected endpoint; closing twice is harmless."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(lambda: loop.create_task(client.close()))


def _call(state: "RetryCallState") -> _Call[Any]:
    call: _Call[Any] = state.args[0]
    return call


def _pause(state: "RetryCallState") -> float:
    error = state.outcome.exception() if state.outcome else None
    doubling: float = FIRST_PAUSE * 2 ** (state.attempt_number - 1)
    pause = min(LONGEST_PAUSE, doubling) * random.uniform(1, 1.25)
    return max(pause, error.pause) if isinstance(error, Retryable) else pause


def _charge_pause(state: "RetryCallState") -> None:
    _call(state).left -= state.upcoming_sleep


def _url(given: str | None, api_key: str | None) -> str:
    url = given or os.environ.get("OPENAI_BASE_URL")
    if not url and not (api_key or os.environ.get("OPENAI_API_KEY")):
        raise OptionError(
            f"no endpoint: set OPENAI_API_KEY to use {OPENAI}; for any other endpoint give base_url or set "
            "OPENAI_BASE_URL, such as http://localhost:8000/v1"
        )
    url = url or OPENAI
    if "|" in url:
        raise OptionError(f"base_url={url!r}: only a model takes several URLs, and no judge")
    if not url.startswith(("http://", "https://")):
        raise OptionError(f"base_url={url!r} must begin with http:// or https://")
    return url.rstrip("/")


def _key(given: str | None) -> str:
    key = given or os.environ.get("OPENAI_API_KEY")
    if not key:
        raise OptionError("no key: give api_key or set OPENAI_API_KEY; any word works if the endpoint needs none")
    return key


def _extra_fields(given: Mapping[str, Any] | str | None) -> dict[str, Any]:
    """`extra_body` as a dictionary. A spec cannot contain a comma, so several fields need a file."""
    if not isinstance(given, str):
        return dict(given or {})
    try:
        fields = json.loads(given if given.lstrip().startswith("{") else Path(given).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise OptionError(f"extra_body={given!r} is neither a JSON object nor a file of one: {error}") from error
    if not isinstance(fields, dict):
        raise OptionError(f"extra_body={given!r} holds {type(fields).__name__}, not a JSON object")
    return fields


def sampling_fields(sampling: Sampling) -> dict[str, Any]:
    """Sampling parameters as fields of a request."""
    settings = {"temperature": sampling.temperature, "top_p": sampling.top_p, "max_tokens": sampling.max_tokens}
    return settings if sampling.seed is None else {**settings, "seed": sampling.seed}


def _body(model: str, messages: Messages, sampling: Sampling, schema: Mapping[str, Any] | None) -> dict[str, Any]:
    body = {"model": model, "messages": list(messages), **sampling_fields(sampling)}
    if schema is not None:
        body[SCHEMA] = {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": schema}}
    return body


def usage_of(answer: Any, text: str = "") -> ChatReply:
    """A reply with the usage that a server's answer tells, whatever else it holds."""
    usage = answer.get("usage") if isinstance(answer, Mapping) else None
    told = usage if isinstance(usage, Mapping) else {}
    return ChatReply(text, _count(told.get("prompt_tokens")), _count(told.get("completion_tokens")))


def _count(tokens: Any) -> int | None:
    """None for what is no count."""
    return tokens if type(tokens) is int and tokens >= 0 else None


def _read(answer: Any) -> ChatReply:
    choice = answer["choices"][0]
    text, finish = content_text(choice["message"]["content"]), choice.get("finish_reason")
    if text is None:
        advice = "; raise max_tokens" if finish == "length" else ""
        raise Permanent(f"a reply without text (finish_reason {finish!r}){advice}")
    return usage_of(answer, text)
