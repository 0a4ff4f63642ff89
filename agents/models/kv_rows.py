"""Key-value cache with one row per conversation, and the packed forward pass of all rows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from ...errors import ModelError

LENGTH_STEP = 64  # rows grow by a quarter, rounded up to a multiple of this
ADVICE = "serve it with vLLM or `transformers serve`, and name it openai:MODEL"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Input tokens of a row in one step: at least one, the first at position `start`."""

    start: int
    tokens: Sequence[int]

    @property
    def end(self) -> int:
        return self.start + len(self.tokens)


class KVRows:
    """Rows of different lengths, in every layer [rows, heads, length, dim]."""

    def __init__(self, max_rows: int) -> None:
        self.rows = self.length = 0
        self._max_rows = max_rows
        self._layers: dict[int, tuple[Any, Any]] = {}

    def reserve(self, rows: int, length: int) -> None:
        """Grows to at least this many rows of this length."""
        if rows <= self.rows and length <= self.length:
            return
        if rows > self.rows:
            self.rows = max(rows, min(2 * self.rows, self._max_rows))
        if length > self.length:
            self.length = -(-length * 5 // 4 // LENGTH_STEP) * LENGTH_STEP
        for index, (keys, values) in self._layers.items():
            self._layers[index] = self._grown(keys), self._grown(values)

    def layer(self, index: int, keys: Any, values: Any) -> tuple[Any, Any]:
        """All rows of a layer, allocated at its first keys and values [1, heads, …, dim]."""
        if index not in self._layers:
            self._layers[index] = self._grown(keys[:, :, :0]), self._grown(values[:, :, :0])
        return self._layers[index]

    def copy(self, source: int, target: int, length: int) -> None:
        """Copies the prefix of a row to another row."""
        for layer in self._layers.values():
            for stored in layer:
                stored[target, :, :length] = stored[source, :, :length]

    def clear(self) -> None:
        """Drops all content and frees the memory."""
        self.rows = self.length = 0
        self._layers.clear()

    def _grown(self, stored: Any) -> Any:
        rows, heads, length, dim = stored.shape
        grown = stored.new_zeros(self.rows, heads, self.length, dim)  # zeros, as masked values must be finite
        grown[:rows, :, :length] = stored
        return grown


class Step:
    """One forward pass of the unmodified model over all rows, packed into a batch of one without padding.

    A prompt of hundreds of tokens goes together with the single tokens of generating rows. The last token of every row
    comes at the end; the attention of all last tokens is one call. Earlier tokens attend to their own row, row by row.
    Keys and values are written in place.
    """

    def __init__(self, cache: KVRows, chunks: Sequence[Chunk], device: Any) -> None:
        import torch

        self.layers = 0
        self.rows = len(chunks)
        early = [(row, chunk) for row, chunk in enumerate(chunks) if len(chunk.tokens) > 1]
        tokens = [token for _, chunk in early for token in chunk.tokens[:-1]] + [chunk.tokens[-1] for chunk in chunks]
        positions = [position for _, chunk in early for position in range(chunk.start, chunk.end - 1)]
        rows = [row for row, chunk in early for _ in chunk.tokens[:-1]]
        self.tokens = torch.tensor(tokens, device=device)
        self.positions = torch.tensor(positions + [chunk.end - 1 for chunk in chunks], device=device)
        self._row_of = torch.tensor(rows + list(range(self.rows)), device=device)
        self._width = max(chunk.end for chunk in chunks)
        self._future = torch.arange(self._width, device=device) > self.positions[-self.rows :, None]
        self._mask: Any = None  # the same for every layer
        self._early = [(row, len(chunk.tokens) - 1, chunk.end - 1, self._causal(chunk, device)) for row, chunk in early]
        self._cache = cache
        cache.reserve(self.rows, self._width)

    @staticmethod
    def _causal(chunk: Chunk, device: Any) -> Any:
        """None at the start of a row, where `is_causal` is faster."""
        import torch

        if chunk.start == 0:
            return None
        count = len(chunk.tokens) - 1
        return torch.ones(count, chunk.start + count, dtype=torch.bool, device=device).tril(chunk.start)

    def attend(self, index: int, query: Any, key: Any, value: Any, scaling: float | None) -> Any:
        """Query, key and value are [1, heads, tokens, dim]; the result is [1, tokens, heads, dim]."""
        import torch
        from torch.nn.functional import scaled_dot_product_attention as attention

        self.layers += 1
        keys, values = self._cache.layer(index, key, value)
        keys[self._row_of, :, self.positions] = key[0].transpose(0, 1)
        values[self._row_of, :, self.positions] = value[0].transpose(0, 1)
        outputs = []
        start = 0
        for row, count, end, mask in self._early:
            own_query = query[:, :, start : start + count]
            own = keys[row : row + 1, :, :end], values[row : row + 1, :, :end]
            out = attention(own_query, *own, attn_mask=mask, is_causal=mask is None, scale=scaling, enable_gqa=True)
            outputs.append(out[0].transpose(0, 1))
            start += count
        # Query heads that share a key head become queries of that head, so keys are not repeated.
        last = query[0, :, start:].transpose(0, 1).reshape(self.rows, key.shape[1], -1, query.shape[3])
        if self._mask is None:
            self._mask = query.new_zeros(self._future.shape).masked_fill_(self._future, -torch.inf)[:, None, None]
        every = keys[: self.rows, :, : self._width], values[: self.rows, :, : self._width]
        out = attention(last, *every, attn_mask=self._mask, scale=scaling)
        outputs.append(out.reshape(self.rows, query.shape[1], -1))
        return torch.cat(outputs)[None]


def forward(model: Any, cache: KVRows, chunks: Sequence[Chunk]) -> Any:
    """The logits after each row's last token; input i is for row i."""
    if _has_state(model):
        raise ModelError(f"{type(model).__name__} has layers with a state beside their attention; " + ADVICE)
    step = Step(cache, chunks, model.device)
    with _attending_by_rows(model):
        out = model(
            input_ids=step.tokens[None],
            position_ids=step.positions[None],
            use_cache=False,
            logits_to_keep=step.rows,
            rows=step,
        )
    if step.layers != model.config.get_text_config().num_hidden_layers:
        raise ModelError(
            f"{type(model).__name__} does not use transformers' AttentionInterface in every layer; " + ADVICE
        )
    return out.logits[0].float()


def _has_state(model: Any) -> bool:
    """Whether a layer reads its input as one text, as Mamba does; a hybrid by class may have attention alone."""
    return bool(model._is_stateful) and any(hasattr(module, "conv1d") for module in model.modules())


@contextmanager
def _attending_by_rows(model: Any) -> Iterator[None]:
    """Restores the model's attention and mode afterwards: it may belong to a trainer."""
    before, training = model.config._attn_implementation, model.training
    model.config._attn_implementation = _registered()
    if training:
        model.eval()
    try:
        yield
    finally:
        model.config._attn_implementation = before
        if training:
            model.train()


@cache
def _registered() -> str:
    from transformers import AttentionInterface

    AttentionInterface.register("profilegym_rows", _attention)
    return "profilegym_rows"


def _attention(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    mask: Any,
    scaling: float | None = None,
    rows: Any = None,
    **more: Any,
) -> tuple[Any, None]:
    """Called by transformers in every layer; `rows` is the `Step` that `forward` passed to the model."""
    unknown = [name for name in ("softcap", "s_aux", "position_bias") if more.get(name) is not None]
    if unknown or rows is None:
        what = f"uses {unknown[0]}" if unknown else "does not pass keyword arguments on to its layers"
        raise ModelError(f"the attention of {type(module).__name__} {what}; {ADVICE}")
    return rows.attend(module.layer_idx, query, key, value, scaling), None
