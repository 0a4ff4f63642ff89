"""What a tool returned, in the form in which an episode shows and records it."""

import json
import re
from collections.abc import Sequence

from ...errors import ToolError
from ..action import Call
from ..question import Document
from ..retrieval import Hit
from ..text import clean_lines

MOST_SHOWN = 20  # documents that one call shows
_NUMBERS = (re.compile(r"^Doc \d+ ?", re.MULTILINE), re.compile(r"^\d+\. ", re.MULTILINE))  # Search-R1's, and ours


def hits_of(result: Sequence[Document | Hit], tool: str) -> tuple[list[Hit], bool]:
    """The documents as hits, and whether the tool gave their scores. Raises `ToolError` for anything else."""
    if not isinstance(result, list | tuple):
        raise ToolError(f"the tool {tool} returned {type(result).__name__}: return documents, hits or a text")
    if all(isinstance(one, Document) for one in result):
        return [Hit(one, 0.0) for one in result if isinstance(one, Document)], False
    hits = [Hit(*one) for one in result if isinstance(one, tuple) and len(one) == 2 and isinstance(one[0], Document)]
    if len(hits) < len(result) or not all(isinstance(hit.score, int | float) for hit in hits):
        raise ToolError(f"the tool {tool} returned a list that holds neither documents alone nor hits alone")
    return hits, True


def result_text(text: str, most: int) -> str:
    """A tool's text without tags, cut to `most` characters."""
    cleaned = clean_lines(text[: 2 * most])
    return cleaned if len(cleaned) <= most else cleaned[: most - 1].rstrip() + "…"


def written(call: Call) -> str:
    """The call as a text for records: `latest(n=3)`."""
    arguments = ", ".join(f"{k}={json.dumps(v, ensure_ascii=False)}" for k, v in call.arguments.items())
    return f"{call.tool}({arguments})"


def numbered_lines(block: str) -> list[str]:
    """What a block of results shows for each document; the whole block where nothing in it is numbered."""
    for number in _NUMBERS:
        _, *lines = number.split(block)
        if lines:
            return [line.strip() for line in lines]
    return [block.strip()] if block.strip() else []
