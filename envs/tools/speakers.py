"""The names that a filter by speaker takes: those of a conversation of few, for prompts and errors."""

import json
from collections.abc import Sequence

from ..text import cut

_MOST_NAMES = 8
_MOST_CHARS = 40  # of a name


def shown_name(name: str) -> str:
    return cut(name, _MOST_CHARS)


def speakers_text(names: Sequence[str]) -> str:
    """`Give one of "Ines", "Tom".`; empty where nobody speaks, or many do."""
    if not 0 < len(names) <= _MOST_NAMES:
        return ""
    return f"Give one of {', '.join(json.dumps(shown_name(name), ensure_ascii=False) for name in names)}."
