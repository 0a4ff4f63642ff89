"""Stop criteria of a local model's turn, checked token by token."""

from collections.abc import Iterable, Sequence
from typing import Any


class Stops:
    """End-of-text tokens, and stop strings, however tokens split them."""

    def __init__(self, tokenizer: Any, ends: Iterable[int]) -> None:
        self._tokenizer = tokenizer
        self._ends = frozenset(ends)
        self._closing: dict[tuple[str, ...], frozenset[int] | None] = {}

    @classmethod
    def of(cls, model: Any, tokenizer: Any) -> "Stops":
        """End-of-text tokens are those of the generation config and of the tokenizer."""
        named = getattr(model.generation_config, "eos_token_id", None)
        ends = named if isinstance(named, list) else [named]
        return cls(tokenizer, [end for end in (*ends, tokenizer.eos_token_id) if end is not None])

    def reached(self, tokens: Sequence[int], stop: tuple[str, ...]) -> bool:
        """Whether the last token ends the turn. Decodes the text only if that token can complete a stop string."""
        if tokens[-1] in self._ends:
            return True
        if not stop:
            return False
        if stop not in self._closing:
            self._closing[stop] = self._closing_tokens(stop)
        closing = self._closing[stop]
        if closing is not None and tokens[-1] not in closing:
            return False
        text = self.text(tokens)
        return any(string in text for string in stop)

    def text(self, tokens: Sequence[int]) -> str:
        """The decoded tokens without an end-of-text token."""
        kept = tokens[:-1] if tokens and tokens[-1] in self._ends else tokens
        text: str = self._tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    def _closing_tokens(self, stop: tuple[str, ...]) -> frozenset[int] | None:
        """Tokens that contain the last character of a stop string; None where a vocabulary may encode it otherwise."""
        last = {string[-1] for string in stop}
        if not all("!" <= character <= "~" for character in last):
            return None
        pieces = self._tokenizer.convert_ids_to_tokens(range(len(self._tokenizer)))
        return frozenset(token for token, piece in enumerate(pieces) if piece is None or last & set(piece))
