"""The keys and values of many conversations, one row each, and the packed step in which all of them go on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from ...errors import ModelError

ROOM = 64  # rows grow in length by a quarter, in steps of this
INSTEAD = "serve it with vLLM or `transformers serve`, and name it openai:MODEL"


@dataclass(frozen=True, slots=True)
class Feed:
    """What a row reads in one step: at least one token, the first at position `start`."""

    start: int
    tokens: Sequence[int]

    @property
    def end(self) -> int:
        return self.start + len(self.tokens)


class KVRows:
    """At most so many rows of different lengths: in every layer [rows, heads, length, dim]."""

    def __init__(self, most: int) -> None:
        self.rows = self.length = 0
        self._most = most
        self._layers: dict[int, tuple[Any, Any]] = {}

    def reserve(self, rows: int, length: int) -> None:
        """Room for rows so many and so long."""
        if rows <= self.rows and length <= self.length:
            return
        if rows > self.rows:
            self.rows = max(rows, min(2 * self.rows, self._most))
        if length > self.length:
            self.length = -(-length * 5 // 4 // ROOM) * ROOM
        for index, (keys, values) in self._layers.items():
            self._layers[index] = self._grown(keys), self._grown(values)

    def layer(self, index: int, keys: Any, values: Any) -> tuple[Any, Any]:
        """All rows of a layer, made when its first keys and values [1, heads, …, dim] are known."""
        if index not in self._layers:
            self._layers[index] = self._grown(keys[:, :, :0]), self._grown(values[:, :, :0])
        return self._layers[index]

    def copy(self, source: int, target: int, length: int) -> None:
        """The beginning of a row into another one."""
        for layer in self._layers.values():
            for stored in layer:
                stored[target, :, :length] = stored[source, :, :length]

    def clear(self) -> None:
        """Forget all that was read, and give the memory back."""
        self.rows = self.length = 0
        self._layers.clear()

    def _grown(self, stored: Any) -> Any:
        rows, heads, length, dim = stored.shape
        grown = stored.new_zeros(self.rows, heads, self.length, dim)  # what is masked must be finite too
        grown[:rows, :, :length] = stored
        return grown


class Step:
    """One forward of the stock model for all rows, packed: their tokens one after another in a batch of one.

    So nothing is padded: a prompt of hundreds of tokens goes with the single tokens of rows that write. The last
    token of every row comes at the end; these look at all rows at once, in one call. Those before them look at their
    own row, one row after another. Keys and values are written in place.
    """

    def __init__(self, kept: KVRows, feeds: Sequence[Feed], device: Any) -> None:
        import torch

        self.layers = 0
        self.rows = len(feeds)
        early = [(row, feed) for row, feed in enumerate(feeds) if len(feed.tokens) > 1]
        tokens = [token for _, feed in early for token in feed.tokens[:-1]] + [feed.tokens[-1] for feed in feeds]
        places = [place for _, feed in early for place in range(feed.start, feed.end - 1)]
        rows = [row for row, feed in early for _ in feed.tokens[:-1]]
        self.tokens = torch.tensor(tokens, device=device)
        self.positions = torch.tensor(places + [feed.end - 1 for feed in feeds], device=device)
        self._row_of = torch.tensor(rows + list(range(self.rows)), device=device)
        self._width = max(feed.end for feed in feeds)
        self._beyond = torch.arange(self._width, device=device) > self.positions[-self.rows :, None]
        self._mask: Any = None  # the same for every layer
        self._early = [(row, len(feed.tokens) - 1, feed.end - 1, self._causal(feed, device)) for row, feed in early]
        self._kept = kept
        kept.reserve(self.rows, self._width)

    @staticmethod
    def _causal(feed: Feed, device: Any) -> Any:
        """None where the first token is the row's own first, for which there is a quicker way."""
        import torch

        if feed.start == 0:
            return None
        count = len(feed.tokens) - 1
        return torch.ones(count, feed.start + count, dtype=torch.bool, device=device).tril(feed.start)

    def attend(self, index: int, query: Any, key: Any, value: Any, scaling: float | None) -> Any:
        """Query, key and value are [1, heads, tokens, dim]; so is what they find, but for [1, tokens, heads, dim]."""
        import torch
        from torch.nn.functional import scaled_dot_product_attention as attention

        self.layers += 1
        keys, values = self._kept.layer(index, key, value)
        keys[self._row_of, :, self.positions] = key[0].transpose(0, 1)
        values[self._row_of, :, self.positions] = value[0].transpose(0, 1)
        found = []
        start = 0
        for row, count, end, mask in self._early:
            asked = query[:, :, start : start + count]
            own = keys[row : row + 1, :, :end], values[row : row + 1, :, :end]
            got = attention(asked, *own, attn_mask=mask, is_causal=mask is None, scale=scaling, enable_gqa=True)
            found.append(got[0].transpose(0, 1))
            start += count
        # Query heads that share a key head are its queries: the keys need not be repeated for each.
        asked = query[0, :, start:].transpose(0, 1).reshape(self.rows, key.shape[1], -1, query.shape[3])
        if self._mask is None:
            self._mask = query.new_zeros(self._beyond.shape).masked_fill_(self._beyond, -torch.inf)[:, None, None]
        every = keys[: self.rows, :, : self._width], values[: self.rows, :, : self._width]
        got = attention(asked, *every, attn_mask=self._mask, scale=scaling)
        found.append(got.reshape(self.rows, query.shape[1], -1))
        return torch.cat(found)[None]


def forward(model: Any, kept: KVRows, feeds: Sequence[Feed]) -> Any:
    """The logits after each row's last token; feed number i is for row i."""
    step = Step(kept, feeds, model.device)
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
            f"{type(model).__name__} does not leave the attention of every layer to transformers' AttentionInterface; "
            + INSTEAD
        )
    return out.logits[0].float()


@contextmanager
def _attending_by_rows(model: Any) -> Iterator[None]:
    """The model as it was comes back: it may be a trainer's."""
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
    """As transformers calls it in every layer; `rows` is what `forward` handed to the model."""
    unknown = [name for name in ("softcap", "s_aux", "position_bias") if more.get(name) is not None]
    if unknown or rows is None:
        what = f"uses {unknown[0]}" if unknown else "keeps what it is given from its layers"
        raise ModelError(f"the attention of {type(module).__name__} {what}; {INSTEAD}")
    return rows.attend(module.layer_idx, query, key, value, scaling), None
