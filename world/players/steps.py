"""Player that reasons in sentences of one step each, and labels such sentences with TagPR's tags, by rules."""

import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from ..._util.prompts import template
from ...agents.posts_shown import posts_shown
from ...agents.prompts import FOLDER
from ...agents.turn_format import answer_with
from ...envs.question import Question
from ...envs.trajectory import Segment
from .oracle import known_aspects

_LABELLING = template("tagpr_label", FOLDER).partition("{{tags}}")[0]
_NUMBERED = re.compile(r"^(\d+)\. (.*)$", re.MULTILINE)
_TAGS = {  # first words of a sentence -> TagPR's tag
    "I am asked": "understand_task",
    "A post says": "examine_examples",
    "So it is": "infer_preference",
    "No post says": "check_consistency",
    "I name": "compose_answer",
}


def play(question: Question, segments: Sequence[Segment]) -> str:
    """Labels sentences if the prompt asks for it, else reasons and answers."""
    prompt = segments[-1].text
    return _label(prompt) if prompt.startswith(_LABELLING) else _reason(question, segments)


def labels(sentences: Iterable[str]) -> list[str | None]:
    """The tag of each sentence; a sentence without known first words continues the previous tag."""
    found: list[str | None] = []
    for sentence in sentences:
        own = next((tag for words, tag in _TAGS.items() if sentence.startswith(words)), None)
        found.append(own or (found[-1] if found else None))
    return found


def in_steps(sentences: Sequence[str]) -> str:
    """Consecutive sentences with the same tag, inside that tag."""
    rows = groupby(zip(labels(sentences), sentences, strict=True), key=lambda pair: pair[0])
    return "\n".join(f"<{tag}>{' '.join(sentence for _, sentence in row)}</{tag}>" for tag, row in rows)


def _reason(question: Question, segments: Sequence[Segment]) -> str:
    known = known_aspects(question, segments)
    values = ", ".join(aspect.accepted[0] for aspect in known)
    own = [aspect for aspect in known if aspect.documents]
    sentences = [f"I am asked by one person, and {len(posts_shown(segments))} posts are there."]
    for aspect in own:
        value = aspect.accepted[0]
        sentences += [f"A post says it, number {_number_of(value, segments)}.", f"So it is {value}."]
    sentences += ["No post says otherwise." if own else "No post says anything of it.", "I name all that I know."]
    return answer_with(values or "I could not find out.", " ".join(sentences))


def _number_of(value: str, segments: Sequence[Segment]) -> int:
    posts = posts_shown(segments)
    return next((number for number, post in enumerate(posts, 1) if value in post), len(posts))


def _label(prompt: str) -> str:
    """Leaves out sentences without a tag, as an LLM may do."""
    _, _, asked = prompt.rpartition("Question: ")
    numbers, sentences = zip(*_NUMBERED.findall(asked), strict=True)
    return "\n".join(f"{number} {tag}" for number, tag in zip(numbers, labels(sentences), strict=True) if tag)
