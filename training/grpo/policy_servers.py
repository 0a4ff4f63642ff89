"""The vLLM servers that TRL's asynchronous trainer gives its adapters to; any of them may be started again."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import requests
from trl.experimental.async_grpo.vllm_client import VLLMClient

from ...agents.models.vllm import VLLMModel

_PAUSE = 1.0  # seconds between tries where no server answers
log = logging.getLogger(__name__)


class PolicyServers(VLLMClient):  # type: ignore[misc]
    """TRL's client for one server, for all of them: each gets every adapter, and `model` asks for the newest.

    A server that does not answer is left out; it gets the adapters when it is asked for them again (`restore`). The
    adapters lie in folders that every server must be able to read.
    """

    def __init__(self, urls: Sequence[str], timeout: float, model: VLLMModel) -> None:
        super().__init__(urls[0], timeout)
        self._clients = {url: VLLMClient(url, timeout) for url in urls}
        self._model = model
        self._paths: dict[str, str] = {}
        self._lock = threading.Lock()  # of the paths: the trainer loads while the worker restores
        self._loading = threading.Lock()  # a server refuses an adapter that it has

    def pause(self, timeout: int = 1800) -> None:
        self._each(lambda client: client.pause(timeout))

    def resume(self, timeout: int = 1800) -> None:
        self._each(lambda client: client.resume(timeout))

    def load_lora_adapter(self, lora_name: str, lora_path: str, timeout: int = 1800) -> None:
        """Returns when one server has it; the others have it too, or are down."""
        with self._lock:
            if not self._paths:  # what an earlier run left is cached under the names of this one
                self._each(_reset)
            self._paths[lora_name] = lora_path
        end = time.monotonic() + self.server_timeout
        while not self._each(lambda client: self._load(client, lora_name, lora_path, timeout)):
            if time.monotonic() > end:
                raise TimeoutError(f"no vLLM server took {lora_name} within {self.server_timeout:.0f} s: {self._names}")
            time.sleep(_PAUSE)
        self._model.adapter = lora_name

    def unload_lora_adapter(self, lora_name: str, timeout: int = 1800) -> None:
        with self._lock:
            self._paths.pop(lora_name, None)
        self._each(lambda client: client.unload_lora_adapter(lora_name, timeout))

    async def restore(self, url: str, name: str) -> None:
        """Gives one server an adapter that it lost. An adapter that is no longer kept is not asked for again."""
        await asyncio.to_thread(self._restore, url, name)

    def _restore(self, url: str, name: str) -> None:
        with self._lock:
            path = self._paths.get(name)
        client = self._clients[url]
        with self._loading:  # many episodes may ask for it at once
            if path is not None and name not in _loaded(client):
                log.warning("vLLM at %s is given the adapter %s again", url, name)
                client.load_lora_adapter(name, path)

    def _load(self, client: VLLMClient, name: str, path: str, timeout: int) -> None:
        with self._loading:
            if name in _loaded(client):  # an earlier run's
                client.unload_lora_adapter(name, timeout)
            client.load_lora_adapter(name, path, timeout)

    @property
    def newest(self) -> str | None:
        """The name of the adapter that was loaded last."""
        return self._model.adapter

    @property
    def _names(self) -> str:
        return ", ".join(self._clients)

    def _each(self, call: Callable[[VLLMClient], Any]) -> int:
        """Calls for every server that can be reached; their number."""
        reached = 0
        for url, client in self._clients.items():
            try:
                call(client)
                reached += 1
            except requests.ConnectionError as error:
                log.warning("vLLM at %s is left out, as it does not answer: %s", url, error)
        return reached


def _reset(client: VLLMClient) -> None:
    requests.post(f"{client.server_url}/reset_prefix_cache", timeout=60)


def _loaded(client: VLLMClient) -> set[str]:
    reply = requests.get(f"{client.server_url}/v1/models", timeout=60)
    reply.raise_for_status()
    return {card["id"] for card in reply.json()["data"]}
