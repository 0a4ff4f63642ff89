"""A perfect searcher of the world: knows what to look for, and says only what the posts it was shown can tell."""

import re
from collections.abc import Sequence

from ...agents.turn_format import answer_with, search_for
from ...envs.question import Aspect, Question
from ...envs.trajectory import Segment
from ..data import plan_of

_HIT = re.compile(r"^\d+\. (.*)$", re.MULTILINE)


def play(question: Question, said: Sequence[Segment]) -> str:
    """The next query of the plan while searches are left, then the answer."""
    plan = plan_of(question.id)
    made = sum(segment.author == "policy" for segment in said)
    if made < len(plan) and not _must_answer(said[-1].text):
        return search_for(plan[made], "What I need to know stands in the person's posts.")
    known = ", ".join(aspect.accepted[0] for aspect in known_aspects(question, said))
    return answer_with(known or "I could not find out.", "That is all there is to know.")


def posts_shown(said: Sequence[Segment]) -> list[str]:
    """The posts that a transcript shows, as it shows them."""
    return [line for segment in said if segment.author == "environment" for line in _HIT.findall(segment.text)]


def known_aspects(question: Question, said: Sequence[Segment]) -> list[Aspect]:
    """The aspects that are common knowledge, or whose posts were all shown."""
    shown = "\n".join(posts_shown(said))
    texts = {document.id: " ".join(document.text.split()) for document in question.profile.documents}
    return [
        aspect
        for aspect in question.rubric.aspects
        if all(texts.get(document, "\n") in shown for document in aspect.documents)
    ]


def _must_answer(told: str) -> bool:
    return "answer now." in told
