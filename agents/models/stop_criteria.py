"""Where a local model's turn ends, told from its tokens as they come."""

from collections.abc import Iterable, Sequence
from typing import Any


class Stops:
    """A token that ends any text, or a stop string in the text of the turn, however its tokens divide it."""

    def __init__(self, tokenizer: Any, ends: Iterable[int]) -> None:
        self._tokenizer = tokenizer
        self._ends = frozenset(ends)
        self._closing: dict[tuple[str, ...], frozenset[int] | None] = {}

    @classmethod
    def of(cls, model: Any, tokenizer: Any) -> "Stops":
        """The tokens that end a text are those that the model's generation settings and the tokenizer name."""
        named = getattr(model.generation_config, "eos_token_id", None)
        ends = named if isinstance(named, list) else [named]
        return cls(tokenizer, [end for end in (*ends, tokenizer.eos_token_id) if end is not None])

    def reached(self, tokens: Sequence[int], stop: tuple[str, ...]) -> bool:
        """Whether the last token ends the turn; the text is looked at only where that token can complete a string."""
        if tokens[-1] in self._ends:
            return True
        if not stop:
            return False
        if stop not in self._closing:
            self._closing[stop] = self._that_close(stop)
        closing = self._closing[stop]
        if closing is not None and tokens[-1] not in closing:
            return False
        text = self.text(tokens)
        return any(string in text for string in stop)

    def text(self, tokens: Sequence[int]) -> str:
        """As the tokens say it, but for the one that ends a text."""
        said = tokens[:-1] if tokens and tokens[-1] in self._ends else tokens
        text: str = self._tokenizer.decode(said, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    def _that_close(self, stop: tuple[str, ...]) -> frozenset[int] | None:
        """The tokens with the last character of a stop string; None where a vocabulary may spell it otherwise."""
        last = {string[-1] for string in stop}
        if not all("!" <= character <= "~" for character in last):
            return None
        pieces = self._tokenizer.convert_ids_to_tokens(range(len(self._tokenizer)))
        return frozenset(token for token, piece in enumerate(pieces) if piece is None or last & set(piece))
