"""A fake vLLM server: token ids in and out, adapters that are loaded by path, and a pause."""

import asyncio
from collections.abc import Callable, Sequence
from math import log
from typing import TYPE_CHECKING, Any

from .fake_server import Body, Fault, LoopbackServer, refusal

if TYPE_CHECKING:
    from aiohttp import web

_LIKELY = -0.5  # the log-probability of every token


class ByteTokenizer:
    """A tokenizer whose tokens are the bytes of the text; byte 0 ends a text."""

    chat_template: str | None = None
    eos_token_id = 0

    def __call__(self, texts: str | Sequence[str], **options: Any) -> dict[str, Any]:
        ids = list(texts.encode()) if isinstance(texts, str) else [list(text.encode()) for text in texts]
        return {"input_ids": ids}

    def decode(self, tokens: Sequence[int], **options: Any) -> str:
        return bytes(tokens).decode(errors="replace")


class VLLMServer(LoopbackServer):
    """Replies to `/v1/completions` with the tokens of what `policy` returns for the prompt's text and the model's name.

    A stop string, the end of the text, `max_tokens` and `context` end a reply as in vLLM. Log-probabilities are
    those of the nucleus of `top_p`, as vLLM's with `logprobs_mode = "processed_logprobs"`. `latency` may be a function
    of the request. `adapters` are the paths of the LoRA weights by name; a server that is started again has none.
    The other options are those of `LoopbackServer`.
    """

    paths = ("/completions",)
    version = "0.32.0"
    logprobs_mode = "processed_logprobs"

    def __init__(
        self,
        policy: Callable[[str, str], str],
        *,
        model: str = "fake",
        tokenizer: Any = None,
        context: int = 100_000,
        latency: float | Callable[[Body], float] = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.policy, self.model, self.context = policy, model, context
        self.tokenizer = tokenizer or ByteTokenizer()
        self.adapters: dict[str, str] = {}
        self.controls: list[str] = []  # paths of the requests besides completions
        self._latency = latency if callable(latency) else lambda body: latency
        self._going = asyncio.Event()

    @property
    def base(self) -> str:
        """The URL without `/v1`."""
        return self.url.removesuffix("/v1")

    def start(self) -> None:
        self.adapters.clear()
        self._going = asyncio.Event()
        self._going.set()
        super().start()

    def _add_routes(self, router: "web.UrlDispatcher") -> None:
        super()._add_routes(router)
        router.add_get("/health", self._told)
        router.add_get("/server_info", self._told)
        router.add_get("/v1/models", self._told)
        for path in ("/pause", "/resume", "/reset_prefix_cache", "/v1/load_lora_adapter", "/v1/unload_lora_adapter"):
            router.add_post(path, self._controlled)

    async def _told(self, request: "web.Request") -> "web.Response":
        from aiohttp import web

        cards: list[Body] = [{"id": self.model, "root": self.model, "parent": None, "max_model_len": self.context}]
        cards += [
            {"id": name, "root": path, "parent": self.model, "max_model_len": None}
            for name, path in self.adapters.items()
        ]
        lora = {"max_lora_rank": 64, "max_loras": 16}
        config = {
            "lora_config": lora, "parallel_config": {"data_parallel_size": 1},
            "model_config": {"logprobs_mode": self.logprobs_mode, "dtype": "torch.float32"},
        }  # fmt: skip
        replies = {"/v1/models": {"data": cards}, "/server_info": {"vllm_config": config}, "/health": {}}
        return web.json_response(replies[request.path])

    async def _controlled(self, request: "web.Request") -> "web.Response":
        from aiohttp import web

        self.controls.append(request.path)
        body = await request.json() if request.can_read_body else {}
        match request.path:
            case "/pause":
                self._going.clear()
            case "/resume":
                self._going.set()
            case "/v1/load_lora_adapter" if body["lora_name"] in self.adapters:
                return refusal(400, f"the adapter {body['lora_name']!r} has already been loaded")
            case "/v1/load_lora_adapter":
                self.adapters[body["lora_name"]] = body["lora_path"]
            case "/v1/unload_lora_adapter":
                self.adapters.pop(body["lora_name"], None)
        return web.Response(text="Success")

    async def _wait(self, body: Body) -> None:
        await self._going.wait()
        await asyncio.sleep(self._latency(body))

    def _refused(self, path: str, body: Body) -> tuple[int, str] | None:
        if body["model"] != self.model and body["model"] not in self.adapters:
            return 404, f"The model `{body['model']}` does not exist."
        if len(body["prompt"]) + body["max_tokens"] > self.context:
            return 400, f"This model's maximum context length is {self.context} tokens."
        return None

    def _said(self, path: str, body: Body, fault: Fault | None) -> Body:
        if fault in (Fault.MALFORMED, Fault.WRONG_SCHEMA):
            return {"something": "else"}
        prompt = self.tokenizer.decode(body["prompt"], skip_special_tokens=False)
        wanted = self.tokenizer(self.policy(prompt, body["model"]), add_special_tokens=False)["input_ids"]
        tokens, reason, named = self._ended([*wanted, self.tokenizer.eos_token_id], body)
        choice = {
            "index": 0, "text": self.tokenizer.decode(tokens), "token_ids": tokens, "finish_reason": reason,
            "stop_reason": named, "logprobs": {"token_logprobs": [self._likely(body)] * len(tokens)},
        }  # fmt: skip
        usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": len(tokens)}
        return {"id": "fake", "model": body["model"], "choices": [choice], "usage": usage}

    def _likely(self, body: Body) -> float:
        """The nucleus has exactly the mass `top_p`."""
        in_nucleus = self.logprobs_mode == "processed_logprobs"
        return min(0.0, _LIKELY - log(body.get("top_p") or 1.0)) if in_nucleus else _LIKELY

    def _ended(self, tokens: list[int], body: Body) -> tuple[list[int], str, str | None]:
        """The tokens up to the first stop string, the end of the text or the limit, and what ended them."""
        for end in range(1, min(len(tokens), body["max_tokens"]) + 1):
            text = self.tokenizer.decode(tokens[:end], skip_special_tokens=False)
            if stop := next((stop for stop in body.get("stop", ()) if stop in text), None):
                return tokens[:end], "stop", stop
        if len(tokens) <= body["max_tokens"]:
            return tokens, "stop", None
        return tokens[: body["max_tokens"]], "length", None
