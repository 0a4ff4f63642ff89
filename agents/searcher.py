"""A script that searches once and then reads around what it found: `scripted:searcher`."""

from collections.abc import Sequence

from ..envs.question import Question
from ..envs.trajectory import Segment
from .posts_shown import id_of, posts_shown
from .turn_format import answer_with, call_tool, must_answer

FIRST = 10  # documents of the search
_CITES = "Name the posts that your answer rests on"  # in the prompt


def play(question: Question, segments: Sequence[Segment]) -> str:
    """Reads around the hits of its search, best first, while it may call; answers with the best hit, and cites it."""
    observations = [segment for segment in segments if segment.author == "environment"]
    if must_answer(observations[-1].text):
        return _answer(segments)
    if len(observations) == 1:
        return call_tool("search_profile", {"query": question.search_text, "k": FIRST}, "I search for the question.")
    found = [name for post in posts_shown(observations[1:2]) if (name := id_of(post))]
    place = len(observations) - 2
    if place >= len(found):
        return _answer(segments)
    return call_tool("read_around", {"id": found[place]}, "I read what was said before and after.")


def _answer(segments: Sequence[Segment]) -> str:
    posts = posts_shown(segments)
    if not posts:
        return answer_with("I do not know.", "Nothing was found.")
    best, name = posts[0], id_of(posts[0])
    cites = [name] if name and _CITES in segments[0].text else []
    return answer_with(best.removeprefix(f"({name}) "), "The best hit answers it.", cites=cites)
