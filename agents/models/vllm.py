"""A model behind vLLM servers, with exact tokens: ids go in and come out, each with its log-probability."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..._util.keys import hidden
from ..._util.registry import construct
from ...envs.chat import Sampling
from ...envs.question import Question
from ...envs.trajectory import Segment
from ...errors import EndpointError, MissingExtra, ModelError
from .accounting import Estimate
from .endpoint import sampling_fields
from .failures import Permanent
from .model import Turn
from .openai_policy import turn_seed
from .tokenize import AS_IS, ChatTemplate, tokens_of, tool_chat
from .tool_chat import Tools
from .vllm_servers import Server, Servers

ATTEMPTS = 6  # servers that a turn is asked of before it fails
# Whatever the generation config of the served model says, the policy is sampled as it is.
_PLAIN = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
_EXACT = {
    "logprobs": 0,
    "return_token_ids": True,
    "include_stop_str_in_output": True,
    "skip_special_tokens": False,
    "spaces_between_special_tokens": False,
}


class VLLMModel:
    """Writes turns by `/v1/completions` of one or several vLLM servers of the same model.

    Prompts are made as for a local model, with the tokenizer of `tokenizer`, by default that of the weights that the
    server names. `adapter` is the name of LoRA weights to ask instead of the model's own; `restore(url, adapter)` loads
    it into a server that does not have it. Without `seeds` the server draws on its own, which is faster on a GPU.
    """

    def __init__(
        self,
        servers: Servers,
        *,
        name: str,
        tokenizer: Any = None,
        template: ChatTemplate = AS_IS,
        seeds: bool = True,
        restore: Callable[[str, str], Awaitable[None]] | None = None,
    ) -> None:
        self.name, self.template = name, template
        self.servers = servers
        self.adapter: str | None = None
        self._tokenizer, self._seeds, self._restore = tokenizer, seeds, restore

    def open(self, question: Question, seed: int | None) -> "VLLMSession":
        return VLLMSession(self, seed if self._seeds else None)

    async def close(self) -> None:
        await self.servers.close()

    async def tokenizer(self) -> Any:
        if self._tokenizer is None or isinstance(self._tokenizer, str):
            path = self._tokenizer or (await self.servers.choose())[1].path
            self._tokenizer = _load_tokenizer(path)  # no await before it, so it is loaded once
        return self._tokenizer

    async def write(
        self, prompt: Sequence[int], prefix: Sequence[int], fields: Mapping[str, Any], last: Server | None
    ) -> tuple[Server, Mapping[str, Any] | None]:
        """The server that answered, and its choice of tokens; None where the prompt fills the context."""
        for _ in range(ATTEMPTS):
            server, served = await self.servers.choose(prefix, last)
            room = served.context - len(prompt)
            if room <= 0:
                return server, None
            name, most = self.adapter or served.name, min(room, fields["max_tokens"])
            body = {"model": name, "prompt": list(prompt), **fields, "max_tokens": most}
            try:
                with server.asked():
                    reply = await server.endpoint.post("/completions", body, Estimate(len(prompt), most), _Reply)
                return server, reply.choice
            except EndpointError as error:
                await self._recover(server, name, error)
                problem = error
        raise ModelError(f"no turn after {ATTEMPTS} tries: {problem}") from problem

    async def _recover(self, server: Server, name: str, error: EndpointError) -> None:
        """Returns where the turn can be asked for again, there or elsewhere."""
        if error.status is None:
            self.servers.failed(server, error)
        elif error.status == 404 and self._restore is not None and name == self.adapter:
            await self._restore(server.url, name)  # it was started again, without the adapters
        elif error.status != 404 or name == self.adapter:
            raise error
        else:
            raise ModelError(f"{server.url} does not serve {name!r}: {error}") from error


class VLLMSession:
    """One conversation. It stays with its server, which has its prefix in the cache."""

    def __init__(self, model: VLLMModel, seed: int | None) -> None:
        self._model, self._seed = model, seed
        self._server: Server | None = None
        self.tools: Tools | None = None  # of an episode with native tool calls, set by `offer_tools`

    async def generate(self, segments: Sequence[Segment], sampling: Sampling, stop: Sequence[str]) -> Turn:
        tokenizer = await self._model.tokenizer()
        template = self._model.template
        chat = tool_chat(tokenizer, template) if self.tools is not None else None
        read = tokens_of(segments, tokenizer, template, self.tools, open_turn=True)
        prompt = [token for part in read for token in part]
        if not prompt:
            raise ModelError("the transcript has no tokens to continue from")
        sampling = replace(sampling, seed=turn_seed(self._seed, len(prompt)))
        fields = {**sampling_fields(sampling), **_PLAIN, **_EXACT, "stop": [] if chat else list(stop)}
        self._server, choice = await self._model.write(prompt, read[0], fields, self._server)
        if choice is None:
            return Turn("", [], [], read, "context", len(prompt), 0)
        tokens, logprobs = choice["token_ids"], choice["logprobs"]["token_logprobs"]
        text = _text(choice, tokenizer)
        return Turn(
            chat.in_transcripts_form(text) if chat and segments[-1].author == "environment" else text,
            tokens,
            logprobs,
            segment_tokens=read,
            finish=_finish(choice, sampling.max_tokens),
            prompt_tokens=len(prompt),
            completion_tokens=len(tokens),
        )

    def close(self) -> None:
        """Nothing to release: vLLM has its own prefix cache."""


def connect(urls: str, *, tokenizer: str | None = None, seeds: bool = True, **options: Any) -> VLLMModel:
    """`vllm:URL[|URL…],option=value…`: options of `VLLMModel`, of `Servers`, and `system=` and `template_NAME=`."""
    template, others = ChatTemplate.of(options)
    servers = construct(Servers, hidden(f"vllm:{urls}"), connect, urls.split("|"), **others)
    named = f",model={others['model']}" if "model" in others else ""
    return VLLMModel(
        servers, name=hidden(f"vllm:{urls}{named}{template.spec}"), tokenizer=tokenizer, template=template, seeds=seeds
    )


class _Reply:
    """The reply's one choice, checked for exact tokens."""

    def __init__(self, reply: Any) -> None:
        self.choice = reply["choices"][0]
        usage = reply.get("usage") or {}
        self.prompt_tokens, self.completion_tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
        tokens, logprobs = self.choice.get("token_ids"), self.choice.get("logprobs")
        if tokens is None or logprobs is None or len(tokens) != len(logprobs["token_logprobs"]):
            raise Permanent("the reply has no token ids with log-probabilities: vLLM 0.12 or newer sends them")


def _text(choice: Mapping[str, Any], tokenizer: Any) -> str:
    """The decoded tokens without the one that ended the text: then vLLM names no stop string."""
    tokens = choice["token_ids"]
    ended = choice["finish_reason"] == "stop" and not isinstance(choice.get("stop_reason"), str)
    text: str = tokenizer.decode(
        tokens[:-1] if ended else tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    return text


def _finish(choice: Mapping[str, Any], most: int) -> Any:
    if choice["finish_reason"] != "length":
        return "stop"
    return "length" if len(choice["token_ids"]) >= most else "context"


def _load_tokenizer(path: str) -> Any:
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise MissingExtra("vllm:", "train") from error
    try:
        return AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"no tokenizer can be loaded from {path!r}, which the server names: give tokenizer=FOLDER ({error})"
        ) from error
