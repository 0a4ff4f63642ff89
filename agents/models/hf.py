"""A local transformers model on the CPU or a GPU, with continuous batching."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from ..._util.loading import without_progress_bars
from ...envs.chat import Sampling
from ...envs.question import Question
from ...envs.trajectory import Segment
from ...errors import MissingExtra, ModelError, OptionError
from .decoding import PREFILL_TOKENS, Decoder, SequenceState, TurnRequest
from .model import Turn
from .stop_criteria import Stops
from .tokenize import AS_IS, ChatTemplate, tokens_of, tool_chat
from .tool_chat import Tools

ROWS = 64
LIMITS = ("max_position_embeddings", "sliding_window", "attention_chunk_size")  # config fields that limit the context


class HFModel:
    """A causal language model and its tokenizer, loaded by a spec or owned by a trainer.

    At most `rows` conversations generate in one step; any number can be open. The weights may change while none is
    open, as cached keys and values end with their conversation. Their memory is kept until `close`. `read` is the
    number of prefill tokens per step, besides the one token that each row generates from.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        rows: int = ROWS,
        read: int = PREFILL_TOKENS,
        name: str = "hf",
        template: ChatTemplate = AS_IS,
    ) -> None:
        if rows < 1:
            raise OptionError(f"rows={rows!r}: give at least 1")
        self.name = name
        self.model, self.tokenizer, self.template = model, tokenizer, template
        config = model.config.get_text_config()
        limits = [limit for limit in (getattr(config, name, None) for name in LIMITS) if limit]
        self.stops = Stops.of(model, tokenizer)
        self.decoder = Decoder(model, self.stops, rows, min(limits, default=None), read)

    @classmethod
    def load(
        cls, path: str, *, rows: int = ROWS, device: str = "auto", dtype: str = "auto", **options: Any
    ) -> "HFModel":
        """From a folder or a hub id. By default on a GPU in the type it was saved in, else on the CPU in float32.

        `system` replaces the chat template's own system prompt, `template_NAME` is an argument of the template.
        """
        template, others = ChatTemplate.of(options)
        if others:
            raise OptionError(
                f"hf:{path}: no option {', '.join(others)}; known: rows, device, dtype, system, template_…"
            )
        try:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer
        except ImportError as error:
            raise MissingExtra("a local model", "train") from error

        if path.startswith((".", "/", "~")) and not Path(path).is_dir():
            raise ModelError(f"hf:{path}: there is no folder {path!r}")
        place = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        kind = "float32" if dtype == "auto" and place == "cpu" else dtype
        try:
            with without_progress_bars():
                model = AutoModelForCausalLM.from_pretrained(path, dtype=kind).to(place)
            tokenizer = AutoTokenizer.from_pretrained(path)
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelError(f"no model can be loaded from {path!r} ({place}, {kind}): {error}") from error
        return cls(model.eval(), tokenizer, rows=rows, name=f"hf:{path}{template.spec}", template=template)

    def open(self, question: Question, seed: int | None) -> "HFSession":
        return HFSession(self, seed)

    async def close(self) -> None:
        """Frees the cache; the model can still be used."""
        self.decoder.clear()


load = HFModel.load


class HFSession:
    """One conversation and its state in the decoder."""

    def __init__(self, model: HFModel, seed: int | None) -> None:
        self._model, self._seed = model, seed
        self._sequence = SequenceState()
        self.tools: Tools | None = None  # of an episode with native tool calls, set by `offer_tools`

    async def generate(self, segments: Sequence[Segment], sampling: Sampling, stop: Sequence[str]) -> Turn:
        """Sampling depends on the seed and the position in the transcript, so an episode can be resumed anywhere."""
        tokenizer, template = self._model.tokenizer, self._model.template
        chat = tool_chat(tokenizer, template) if self.tools is not None else None
        read = tokens_of(segments, tokenizer, template, self.tools, open_turn=True)
        tokens = [token for part in read for token in part]
        if not tokens:
            raise ModelError("the transcript has no tokens to continue from")
        known, place = len(self._sequence.tokens), len(tokens)
        rng = Random(f"{self._seed}:{place}" if self._seed is not None else None)
        request = TurnRequest(sampling, () if chat else tuple(stop), rng)
        await self._model.decoder.write(self._sequence, tokens, request)
        assert request.finish is not None
        text = self._model.stops.text(request.tokens)
        return Turn(
            chat.in_transcripts_form(text) if chat and segments[-1].author == "environment" else text,
            request.tokens,
            request.logprobs,
            segment_tokens=read,
            finish=request.finish,
            prompt_tokens=max(0, place - known),
            completion_tokens=len(request.tokens),
        )

    def close(self) -> None:
        self._model.decoder.close(self._sequence)
