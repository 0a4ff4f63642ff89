"""A local transformers model, on the CPU or a GPU, that goes on with many conversations at once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

from ...envs.chat import Sampling
from ...envs.question import Question
from ...envs.trajectory import Segment
from ...errors import MissingExtra, ModelError, OptionError
from . import sampling as samplings
from .decoding import PREFILL_TOKENS, Decoder, Row, TurnRequest
from .model import Turn
from .stop_criteria import Stops
from .tokenize import tokens_of

ROWS = 64
LIMITS = ("max_position_embeddings", "sliding_window", "attention_chunk_size")  # of what a token can look back to


class HFModel:
    """A causal language model and its tokenizer, loaded by a spec or owned by a trainer.

    At most `rows` conversations go on in one step; any number can be open. The weights may change while none is open:
    nothing that was read outlives its conversation. The memory for it does, until `close`. `read` is how many tokens
    are read in a step beside the one that each row goes on with.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, rows: int = ROWS, read: int = PREFILL_TOKENS, name: str = "hf"
    ) -> None:
        if rows < 1:
            raise OptionError(f"rows={rows!r}: give at least 1")
        self.name = name
        self.model, self.tokenizer = model, tokenizer
        config = model.config.get_text_config()
        limits = [limit for limit in (getattr(config, name, None) for name in LIMITS) if limit]
        self.stops = Stops.of(model, tokenizer)
        self.decoder = Decoder(model, self.stops, rows, min(limits, default=None), read)

    @classmethod
    def load(cls, path: str, *, rows: int = ROWS, device: str = "auto", dtype: str = "auto") -> "HFModel":
        """From a folder or a hub id. By default on a GPU in the type it was saved in, else on the CPU in float32."""
        try:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer
        except ImportError as error:
            raise MissingExtra("a local model", "train") from error

        place = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        kind = "float32" if dtype == "auto" and place == "cpu" else dtype
        try:
            with _without_bars():
                model = AutoModelForCausalLM.from_pretrained(path, dtype=kind).to(place)
            tokenizer = AutoTokenizer.from_pretrained(path)
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelError(f"no model can be loaded from {path!r} ({place}, {kind}): {error}") from error
        return cls(model.eval(), tokenizer, rows=rows, name=f"hf:{path}")

    def open(self, question: Question, seed: int | None) -> "HFSession":
        return HFSession(self, seed)

    async def close(self) -> None:
        """Gives back the memory of its rows; it can still be used."""
        self.decoder.clear()


load = HFModel.load


class HFSession:
    """One conversation: its tokens, and the row that has read them while it has one."""

    def __init__(self, model: HFModel, seed: int | None) -> None:
        self._model, self._seed = model, seed
        self._stream = Row()

    async def generate(self, said: Sequence[Segment], sampling: Sampling, stop: Sequence[str]) -> Turn:
        """Draws depend on the seed and the place in the transcript, so an episode can be taken up anywhere."""
        samplings.check(sampling)
        read = tokens_of(said, self._model.tokenizer)
        tokens = [token for part in read for token in part]
        if not tokens:
            raise ModelError("there is nothing that the model could go on from: the transcript has no tokens")
        known, place = len(self._stream.tokens), len(tokens)
        luck = Random(f"{self._seed}:{place}" if self._seed is not None else None)
        writing = TurnRequest(sampling, tuple(stop), luck)
        await self._model.decoder.write(self._stream, tokens, writing)
        assert writing.finish is not None
        return Turn(
            self._model.stops.text(writing.tokens),
            writing.tokens,
            writing.logprobs,
            segment_tokens=read,
            finish=writing.finish,
            prompt_tokens=max(0, place - known),
            completion_tokens=len(writing.tokens),
        )

    def close(self) -> None:
        self._model.decoder.close(self._stream)


@contextmanager
def _without_bars() -> Iterator[None]:
    """A bar for the moment that loading takes would stand amid the output of any command."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
