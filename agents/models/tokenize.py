"""A transcript in tokens, as a local model reads it."""

from collections.abc import Sequence
from typing import Any

from ...envs.trajectory import Segment


def tokens_of(said: Sequence[Segment], tokenizer: Any) -> list[list[int]]:
    """Those of each segment: exactly those that it carries, else its text's.

    A chat template renders the first thing the environment says as the user's message; all that follows stands inside
    the assistant's, as the transcript has it.
    """
    return [
        list(segment.tokens) if segment.tokens is not None else _spelt(segment, tokenizer, first=number == 0)
        for number, segment in enumerate(said)
    ]


def _spelt(segment: Segment, tokenizer: Any, first: bool) -> list[int]:
    text = segment.text
    if first and tokenizer.chat_template is not None:
        message = [{"role": "user", "content": text}]
        text = tokenizer.apply_chat_template(message, add_generation_prompt=True, tokenize=False)
        first = False  # the template has written what else a text begins with
    tokens: list[int] = tokenizer.encode(text, add_special_tokens=first)
    return tokens
