"""The vLLM servers of one model, and what each serves."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...errors import EndpointError, OptionError
from . import servers
from .endpoint import Endpoint
from .servers import Refused, Spread

_PROBE = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Served:
    """What a server says about the model that it serves."""

    name: str
    path: str  # the folder or hub id of the weights
    context: int


Server = servers.Server[Served]


class Servers(Spread[Served]):
    """Spreads requests over vLLM servers."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        model: str | None = None,
        api_key: str | None = None,
        concurrency: int = 256,
        timeout: float = 600.0,
        patience: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not urls or len(set(urls)) < len(urls):
            raise OptionError(f"vllm:{'|'.join(urls)}: give one URL or several different ones, with | between them")
        key = api_key or os.environ.get("VLLM_API_KEY") or "none"
        endpoints = {url: _endpoint(url, model, key, concurrency, timeout) for url in map(_base, urls)}
        found = [Server(url, one, partial(_ask, url, one, model)) for url, one in endpoints.items()]
        super().__init__(found, patience=patience, clock=clock)


async def _ask(url: str, endpoint: Endpoint, model: str | None) -> Served:
    reply = await endpoint.get("/models", _PROBE)
    try:
        served = _served(reply, model)
        names = ", ".join(str(card.get("id")) for card in reply["data"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise EndpointError(f"{url}/v1/models cannot be read: {error!r}") from error
    if served is None:
        raise Refused(f"{url} serves {names}, not {model}")
    return served


def _base(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise OptionError(f"vllm:{url}: a URL must begin with http:// or https://, such as http://127.0.0.1:8000")
    return url.rstrip("/").removesuffix("/v1")


def _endpoint(url: str, model: str | None, key: str, concurrency: int, timeout: float) -> Endpoint:
    """One try a call: another server may answer instead."""
    endpoint = Endpoint(
        model or "default", base_url=f"{url}/v1", api_key=key, concurrency=concurrency, timeout=timeout,
        deadline=timeout, attempts=1,
    )  # fmt: skip
    endpoint.name = "vLLM"
    endpoint.limiter.limit = float(concurrency)  # vLLM has a queue of its own, and never says 429
    return endpoint


def _served(reply: Any, model: str | None) -> Served | None:
    """The model of that name, by default the one whose weights were loaded.

    Adapters have it as their parent: they share its tokenizer and its context.
    """
    cards = {card["id"]: card for card in reply["data"]}
    own = next((card for card in reply["data"] if not card.get("parent")), None)
    card = own if model is None else cards.get(model)
    if card is None:
        return None
    parent = cards.get(card.get("parent"), card)
    return Served(card["id"], parent.get("root") or parent["id"], int(parent["max_model_len"]))
