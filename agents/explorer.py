"""A script that draws how it searches a conversation, for lessons that leave much to learn: `scripted:explorer`."""

import re
from collections.abc import Sequence
from random import Random
from typing import Any

from ..envs.data.leaks import evidence_of
from ..envs.observation import document_line
from ..envs.question import Document, Question
from ..envs.text import shown_id
from ..envs.trajectory import Segment
from .posts_shown import id_of, posts_shown
from .turn_format import answer_with, call_tool, must_answer

_WORD = re.compile(r"[\w'-]+")
_NAME = re.compile(r"(?<=\s)[A-Z][a-z]+")
_MISTAKES = 0.2  # of the questions that name two speakers, or have another capitalised word
_EMPTY = (  # words that say nothing of what is asked
    *("a", "an", "the", "of", "to", "in", "on", "at", "for", "with", "and", "or", "by", "from", "about", "is", "are"),
    *("was", "were", "be", "been", "do", "does", "did", "has", "have", "had", "will", "would", "can", "could"),
    *("should", "may", "might", "what", "when", "where", "which", "who", "whom", "whose", "why", "how", "many"),
    *("much", "long", "often", "his", "her", "their", "its"),
)


def play(question: Question, segments: Sequence[Segment], seed: int | None = None) -> str:
    """Calls that the question's id and the seed decide, then the reference if some of its evidence was shown."""
    observations = [segment.text for segment in segments if segment.author == "environment"]
    calls = _calls(question, seed)
    made = len(observations) - 1
    if made >= len(calls) or must_answer(observations[-1]):
        return _answer(question, segments)
    if calls[made] != "read_around":
        mistaken = "Nobody of that name speaks" in observations[-1]
        why = "I name one who speaks, or nobody." if mistaken else "I look for what was said about it."
        return call_tool("search_profile", calls[made], why)
    found = [name for post in posts_shown(segments[-1:]) if (name := id_of(post))]
    if not found:
        return _answer(question, segments)
    return call_tool("read_around", {"id": found[0]}, "I read what was said before and after.")


def _calls(question: Question, seed: int | None) -> list[Any]:
    """The arguments of searches, or the name of the other tool: with or without a speaker, and so many posts.

    Now and then a search before these names somebody who does not speak: a mistake to learn from.
    """
    rng = Random(f"{question.id} {seed}")
    speaker = _speaker(question) if rng.random() < 0.5 else None
    words, count = {"query": _words(question, speaker)}, {"k": rng.choice((5, 8, 12, 15))}
    first = [words | ({"speaker": speaker} if speaker else {}) | count]
    again = {"query": _words(question, None), "k": 5}
    more = rng.choice(([], [], ["read_around"], [again], ["read_around", again]))
    nobody = _nobody(question)
    if nobody and rng.random() < _MISTAKES:
        first.insert(0, words | {"speaker": nobody} | count)
    return [*first, *more]


def _speaker(question: Question) -> str | None:
    """The speaker whom the question names, if it names one of them alone."""
    named = _named(question)
    return named[0] if len(named) == 1 else None


def _nobody(question: Question) -> str | None:
    """What looks like the name of a speaker and is none: two of them, or another capitalised word of the question."""
    named = _named(question)
    if len(named) > 1:
        return " and ".join(named)
    return next((name for name in _NAME.findall(question.text) if name not in named), None)


def _named(question: Question) -> list[str]:
    return [speaker for speaker in question.profile.speakers if re.search(rf"\b{re.escape(speaker)}\b", question.text)]


def _words(question: Question, speaker: str | None) -> str:
    """The question's words that mean something, without the speaker's name."""
    words = [word.removesuffix("'s") for word in _WORD.findall(question.search_text)]
    kept = [word for word in words if word.lower() not in _EMPTY and word != speaker]
    return " ".join(kept) or question.search_text


def _answer(question: Question, segments: Sequence[Segment]) -> str:
    known = question.profile.by_id
    evidence = [known[name] for name in evidence_of(question) if name in known]
    telling = [name for post in posts_shown(segments) for document in evidence if (name := _name(document, post))]
    if not telling or not question.rubric.reference:
        return answer_with("I do not know.", "Nothing was found.")
    return answer_with(question.rubric.reference, f"{telling[0]} tells it.")


def _name(document: Document, post: str) -> str | None:
    """How a thought names the document, if it is this post: by its id, where posts are shown with their ids."""
    if post.startswith(f"({shown_id(document.id)}) "):
        return shown_id(document.id)
    return "One of them" if post == document_line(document, len(post)) else None
