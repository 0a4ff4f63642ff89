"""What a language model is to those who only ask it: messages in, a reply out.

`agents` knows how to reach models, `rewards` judges with one; this is the word that both understand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Messages = Sequence[Mapping[str, str]]  # {"role": …, "content": …}


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a reply is drawn; part of what identifies it in a cache."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 256
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class ChatReply:
    """What the model said, and what it took. Unknown is None."""

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class ChatModel(Protocol):
    """A model that can be asked many things at once. Raises `EndpointError` when no reply can be had."""

    name: str

    async def __call__(
        self, messages: Messages, sampling: Sampling, schema: Mapping[str, Any] | None = None
    ) -> ChatReply: ...
