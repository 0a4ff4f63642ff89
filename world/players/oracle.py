"""Oracle player: searches with the gold queries and answers from the posts shown."""

from collections.abc import Sequence

from ...agents.posts_shown import posts_shown
from ...agents.turn_format import answer_with, search_for
from ...envs.question import Aspect, Question
from ...envs.trajectory import Segment
from ..data import gold_queries


def play(question: Question, segments: Sequence[Segment]) -> str:
    """The next gold query while searches are left, then the answer."""
    queries = gold_queries(question.id)
    turns = sum(segment.author == "policy" for segment in segments)
    if turns < len(queries) and "answer now." not in segments[-1].text:
        return search_for(queries[turns], "What I need to know stands in the person's posts.")
    known = ", ".join(aspect.accepted[0] for aspect in known_aspects(question, segments))
    return answer_with(known or "I could not find out.", "That is all there is to know.")


def known_aspects(question: Question, segments: Sequence[Segment]) -> list[Aspect]:
    """Aspects of common knowledge, and those whose posts were all shown."""
    shown = "\n".join(posts_shown(segments))
    texts = {document.id: " ".join(document.text.split()) for document in question.profile.documents}
    return [
        aspect
        for aspect in question.rubric.aspects
        if all(texts.get(document, "\n") in shown for document in aspect.documents)
    ]
