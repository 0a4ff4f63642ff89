"""The chat-model interface that agents and judges share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Messages = Sequence[Mapping[str, str]]  # {"role": …, "content": …}


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling parameters of a reply. They are part of its cache key."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 256
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class ChatReply:
    """A model's reply with its token counts. Unknown counts are None."""

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class ChatModel(Protocol):
    """A model that accepts concurrent calls. Raises `EndpointError` if it gets no reply."""

    name: str

    async def __call__(
        self, messages: Messages, sampling: Sampling, schema: Mapping[str, Any] | None = None
    ) -> ChatReply: ...
