"""Initial weights for a small model: random, with attention heads that look back.

Copying takes two layers: one tells each token which token came before it, the next finds where the present token
occurred before. A small model with random weights learns this late: after 1,500 steps on demonstrations it still
replaced names that it had just read by others. `docs/pilot.md` has the figures.
"""

import re
from typing import Any

from pydantic import PositiveFloat, PositiveInt, model_validator

from ...training.settings import SettingsModel

_ALIKE = 0.09  # about 1 / sqrt(width): a projection and its transpose preserve length
_SHARP = 1.6  # scale of normalised queries and keys
_COMMON = 8.0  # length of the line numbers' common direction; their embeddings have length 6 without it
_SLOW = 0.05  # radians a token: slow enough for a whole line, fast enough to prefer the last one
_NUMBER = re.compile(r"\n\d+\. ")
_FAST = 0.2  # radians a token: fast enough to tell neighbours apart


class Shape(SettingsModel):
    """The dimensions of a Qwen3 model."""

    layers: PositiveInt
    width: PositiveInt
    heads: PositiveInt
    neighbours: PositiveInt  # first-layer heads that look one token back, two back …; one more looks at the line number
    feed_forward: PositiveInt
    rope_base: PositiveFloat
    positions: PositiveInt

    @model_validator(mode="after")
    def _room(self) -> "Shape":
        if self.neighbours >= self.heads:
            raise ValueError(f"heads={self.heads}: give more than neighbours={self.neighbours}, as one finds lines")
        return self


def new_model(shape: Shape, tokenizer: Any, seed: int) -> Any:
    """A model with random weights, except for the heads that look back."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        head_dim=shape.width // shape.heads,
        intermediate_size=shape.feed_forward,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_base},
        max_position_embeddings=shape.positions,
        attention_bias=True,  # needed to attend to a position regardless of its token
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config._attn_implementation = "eager"  # twice as fast as sdpa with bfloat16 on a CPU at these lengths
    model = Qwen3ForCausalLM(config)
    with torch.no_grad():
        _look_back(model, shape)
        _look_at_the_line(model, shape, numbers(tokenizer))
    return model


def numbers(tokenizer: Any) -> list[int]:
    """The tokens that start a line of a numbered list."""
    return [token for word, token in tokenizer.get_vocab().items() if _NUMBER.fullmatch(tokenizer.decode([token]))]


def _look_back(model: Any, shape: Shape) -> None:
    """Make all heads attend to similar tokens and copy them, and the first heads attend to their neighbours."""
    model.model.embed_tokens.weight.normal_(std=0.5)
    model.lm_head.weight.copy_(0.1 * model.model.embed_tokens.weight)
    for layer in model.model.layers:
        attention = layer.self_attn
        attention.q_proj.weight.normal_(std=_ALIKE)
        attention.k_proj.weight.copy_(attention.q_proj.weight)
        attention.v_proj.weight.normal_(std=_ALIKE)
        attention.o_proj.weight.copy_(attention.v_proj.weight.T)
        attention.q_norm.weight.fill_(_SHARP)
        attention.k_norm.weight.fill_(_SHARP)
    for head in range(shape.neighbours):
        _look_at(model.model.layers[0].self_attn, shape, head, back=head + 1)


def _look_at(attention: Any, shape: Shape, head: int, back: int) -> None:
    """Attend `back` tokens back: the key bias is the query bias, rotated by that many positions."""
    import torch

    size = shape.width // shape.heads
    turn = shape.rope_base ** (-torch.arange(0, size, 2) / size)
    fast = (turn >= _FAST).float()
    query = torch.cat([fast, 0 * fast])
    key = torch.cat([fast * (back * turn).cos(), fast * (back * turn).sin()])
    rows = slice(head * size, (head + 1) * size)
    for projection, bias in ((attention.q_proj, query), (attention.k_proj, key)):
        projection.weight[rows] *= 0.1
        projection.bias[rows] = bias


def _look_at_the_line(model: Any, shape: Shape, marks: list[int]) -> None:
    """Make one head attend to the nearest line number: these tokens share a direction that its keys detect."""
    import torch

    size, embeddings = shape.width // shape.heads, model.model.embed_tokens.weight
    common = torch.nn.functional.normalize(torch.randn(shape.width), dim=0)
    embeddings[marks] += _COMMON * common
    model.lm_head.weight[marks] = 0.1 * embeddings[marks]
    turn = shape.rope_base ** (-torch.arange(0, size, 2) / size)
    near, far = (turn - _SLOW).abs().argmin(), size // 2 - 1  # a slow rotary frequency, and the slowest
    attention, first = model.model.layers[0].self_attn, shape.neighbours * size
    attention.q_proj.weight[first : first + size] *= 0.1
    attention.k_proj.weight[first : first + size] *= 0.1
    attention.q_proj.bias[first + near] = 3.0
    attention.k_proj.weight[first + near] += common
    attention.k_proj.bias[first + far] = 4.0  # a constant for all keys, which differ by chance in the common direction
