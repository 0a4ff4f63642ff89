"""Reasons about the world in sentences that each do one thing, and says by rules which: stands in for two LLMs."""

import re
from collections.abc import Sequence

from ..._util.prompts import template
from ...agents.prompts import FOLDER
from ...agents.turn_format import answer_with
from ...envs.question import Question
from ...envs.trajectory import Segment
from .oracle import known_aspects, posts_shown
from .sentences import labels

_LABELLING = template("tagpr_label", FOLDER).partition("{{tags}}")[0]
_NUMBERED = re.compile(r"^(\d+)\. (.*)$", re.MULTILINE)


def play(question: Question, said: Sequence[Segment]) -> str:
    """Labels where it is asked to, and else reasons and answers."""
    prompt = said[-1].text
    return _label(prompt) if prompt.startswith(_LABELLING) else _reason(question, said)


def _reason(question: Question, said: Sequence[Segment]) -> str:
    known = known_aspects(question, said)
    values = ", ".join(aspect.accepted[0] for aspect in known)
    own = [aspect for aspect in known if aspect.documents]
    sentences = [f"I am asked by one person, and {len(posts_shown(said))} posts are there."]
    for aspect in own:
        sentences += [f"A post says it, number {_place(aspect.accepted[0], said)}.", f"So it is {aspect.accepted[0]}."]
    sentences += ["No post says otherwise." if own else "No post says anything of it.", "I name all that I know."]
    return answer_with(values or "I could not find out.", " ".join(sentences))


def _place(value: str, said: Sequence[Segment]) -> int:
    posts = posts_shown(said)
    return next((number for number, post in enumerate(posts, 1) if value in post), len(posts))


def _label(prompt: str) -> str:
    """What it cannot place is left out, as an LLM may do."""
    _, _, asked = prompt.rpartition("Question: ")
    numbers, sentences = zip(*_NUMBERED.findall(asked), strict=True)
    return "\n".join(f"{number} {tag}" for number, tag in zip(numbers, labels(sentences), strict=True) if tag)
