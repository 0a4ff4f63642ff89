"""A script that searches once and then reads around what it found: `scripted:searcher`."""

import re
from collections.abc import Sequence

from ..envs.question import Question
from ..envs.trajectory import Segment
from .turn_format import answer_with, call_tool

FIRST = 10  # documents of the search
_CITES = "Name the posts that your answer rests on"  # in the prompt
_LINE = re.compile(r"^\d+\. \(([^)\n]*)\) (.*)$", re.MULTILINE)


def play(question: Question, segments: Sequence[Segment]) -> str:
    """Reads around the hits of its search, best first, while it may call; answers with the best hit, and cites it."""
    observations = [segment.text for segment in segments if segment.author == "environment"]
    if "answer now" in observations[-1]:
        return _answer(observations)
    if len(observations) == 1:
        return call_tool("search_profile", {"query": question.search_text, "k": FIRST}, "I search for the question.")
    found = [id_ for id_, _ in _LINE.findall(observations[1])]
    place = len(observations) - 2
    if place >= len(found):
        return _answer(observations)
    return call_tool("read_around", {"id": found[place]}, "I read what was said before and after.")


def _answer(observations: Sequence[str]) -> str:
    found = _LINE.findall("".join(observations[1:]))
    if not found:
        return answer_with("I do not know.", "Nothing was found.")
    best, text = found[0]
    cites = [best] if _CITES in observations[0] else []
    return answer_with(text, "The best hit answers it.", cites=cites)
