"""The clients of `bench judge`: each asks the same endpoint for one verdict, reads it, and retries transient errors."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from ..agents.models import Endpoint
from ..envs.chat import Messages, Sampling

SYSTEM, USER = "You are a judge. " * 20, "Question, aspects and answer text. " * 40  # 1.7 kB, as judgements are
MESSAGES: Messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": USER}]
KEY = "any"

Judge = Callable[[], Awaitable[int]]  # one judgement: its match
Client = Callable[[str, int], AbstractAsyncContextManager[Judge]]  # from the endpoint's address and the concurrency


class Unreadable(Exception):
    """A reply that holds no verdict."""


def read(text: str | None) -> int:
    try:
        match: int = json.loads(text or "")["match"]
    except (ValueError, KeyError, TypeError) as error:
        raise Unreadable(text) from error
    return match


def endpoint_with_limits(model: str, url: str, concurrency: int) -> Endpoint:
    """Every limit is on, and none is reached."""
    return Endpoint(
        model, base_url=url, api_key=KEY, concurrency=concurrency, requests_per_minute=1e9, tokens_per_minute=1e12,
        budget=1e9, price_in=1.0, price_out=1.0,
    )  # fmt: skip


@asynccontextmanager
async def profilegym(url: str, concurrency: int) -> AsyncIterator[Judge]:
    """With limits, circuit breaker, accounting and budget. An unreadable reply is asked for again, as a judge does."""
    async with endpoint_with_limits("judge", url, concurrency) as endpoint:

        async def judge() -> int:
            while True:
                try:
                    return read((await endpoint(MESSAGES, Sampling())).text)
                except Unreadable:
                    continue

        yield judge


def openai_with(transport: str | None, retrying: bool) -> Client:
    @asynccontextmanager
    async def client(url: str, concurrency: int) -> AsyncIterator[Judge]:
        import openai
        import tenacity

        http: Any = openai.DefaultAioHttpClient() if transport == "aiohttp" else None
        places = asyncio.Semaphore(concurrency)

        async with openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0, http_client=http) as asking:

            async def judge() -> int:
                async with places:
                    reply = await asking.chat.completions.create(
                        model="judge", messages=MESSAGES, temperature=0, top_p=1, max_tokens=256  # type: ignore[arg-type]
                    )  # fmt: skip
                return read(reply.choices[0].message.content)

            passing = (openai.RateLimitError, openai.InternalServerError, openai.APIConnectionError, Unreadable)
            again = tenacity.retry(
                retry=tenacity.retry_if_exception_type(passing),
                wait=tenacity.wait_exponential(multiplier=0.5, max=30),
                stop=tenacity.stop_after_attempt(8),
            )
            yield again(judge) if retrying else judge

    return client


@asynccontextmanager
async def verifiers(url: str, concurrency: int) -> AsyncIterator[Judge]:
    """verifiers' own judge, which opens a client for every call."""
    import os

    import verifiers.v1 as vf
    from verifiers.v1.configs.judge import JudgeConfig

    class Matching(vf.Judge[int]):  # type: ignore[misc]
        prompt = "unused"

        def parse(self, response: Any) -> int:
            return read(response.text)

    os.environ["ANY_KEY_ON_LOOPBACK"] = KEY
    asked = Matching(JudgeConfig(model="judge", base_url=url, api_key_var="ANY_KEY_ON_LOOPBACK"))
    messages = [vf.types.SystemMessage(content=SYSTEM), vf.types.UserMessage(content=USER)]
    places = asyncio.Semaphore(concurrency)

    async def judge() -> int:
        async with places:
            match: int = (await asked.complete(messages, parse=asked.parse)).parsed
        return match

    yield judge


CLIENTS: dict[str, Client] = {
    "profilegym": profilegym,
    "openai on aiohttp, bare": openai_with("aiohttp", retrying=False),
    "openai, tenacity": openai_with(None, retrying=True),
    "verifiers": verifiers,
}
