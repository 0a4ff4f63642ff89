"""The chat-model interface that agents and judges share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import OptionError

Messages = Sequence[Mapping[str, str]]  # {"role": …, "content": …}


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling parameters of a reply. They are part of its cache key."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 256
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise OptionError(f"temperature={self.temperature!r}: give 0 (greedy decoding) or more")
        if not 0 < self.top_p <= 1:
            raise OptionError(f"top_p={self.top_p!r}: give more than 0, and at most 1")
        if self.max_tokens < 1:
            raise OptionError(f"max_tokens={self.max_tokens!r}: give at least 1")


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
