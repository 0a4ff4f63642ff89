"""A model that follows rules about the world, and sees nothing but its prompt: for runs without a language model.

It answers what RPM and PlanPers ask, and plays LaMP's tasks of the world in any agent's transcript.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from ...envs.prompts import template
from ...envs.question import Question
from ...envs.trajectory import Segment
from ..prompts import FOLDER
from ..writing import answer_with, search_for
from .oracle import posts_shown
from .world_reader import Example, read, respond

_SLOT = re.compile(r"\\\{\\\{(\w+)\\\}\\\}")  # as re.escape leaves it
_FACTOR = re.compile(r"^- (.+?) \(.*\): seen \d+ times: (.+)$", re.MULTILINE)
_SHARE = re.compile(r"([^,()]+) \((\d+)%\)")
_EXAMPLE = re.compile(r"^Past text: (.+)\n(?:Features:\n(?:.+\n)+?Reasoning: .*\n)?Response: (.+)$", re.MULTILINE)
_POST = re.compile(r"(?:\[[\d-]+\] )?(.*?)(?: Tag: (.+)| Rating: (.+) of 5)?")
_SKIPPED = "I cannot tell."


def play(question: Question, said: Sequence[Segment]) -> str:
    """An answer to the prompt that it recognises, else the next turn of the transcript."""
    for name, reply in _REPLIES.items():
        found = _pattern(name).fullmatch(said[-1].text)
        if found:
            return reply(found.groupdict())
    return _turn(said)


@cache
def _pattern(name: str) -> re.Pattern[str]:
    """A prompt's template, to be read backwards."""
    return re.compile(_SLOT.sub(r"(?P<\1>.*)", re.escape(template(name, FOLDER))), re.DOTALL)


def _features(slots: Mapping[str, str]) -> str:
    found = read(slots["text"])
    return "\n".join(map(" | ".join, found.features)) if found else ""


def _rated_features(slots: Mapping[str, str]) -> str:
    """A word is taken up or not; a matter decides the form, whatever the words are."""
    rows = []
    found = read(slots["text"])
    for name, context, factor in found.features if found else ():
        taken = factor != "wording" or context in slots["response"].lower()
        rows.append(f"{name} | {context} | {factor} | {1 if taken else 0.2} | {1 if taken else -1}")
    return "\n".join(rows)


def _factors(slots: Mapping[str, str]) -> str:
    """Every matter by itself: people differ in each."""
    names = [line.rpartition(" (")[0] for line in slots["features"].splitlines()]
    return "\n".join(f"{name}: {name}" for name in names)


def _path(slots: Mapping[str, str]) -> str:
    names = [line.partition(" | ")[0] for line in slots["features"].splitlines()]
    return f"It is about {' and '.join(names)}, which for this person leads to {slots['response']}."


def _answer(slots: Mapping[str, str]) -> str:
    found = read(slots["task"])
    if found is None:
        return f"Answer: {_SKIPPED}"
    known = {name: _shares(told) for name, told in _FACTOR.findall(slots["context"])}
    examples = [Example(text, response) for text, response in _EXAMPLE.findall(slots["context"])]
    names = " and ".join(matter.name for matter in found.matters)
    return f"It is about {names}.\nAnswer: {respond(found, examples, known)}"


def _shares(told: str) -> dict[str, float]:
    return {response.strip(): int(percent) / 100 for response, percent in _SHARE.findall(told)}


def _turn(said: Sequence[Segment]) -> str:
    """One search for the task's own words, if there may be one; then what the posts shown allow to say."""
    asked = said[0].text.rpartition("Question: ")[2]
    found = read(asked)
    if found is None:
        return answer_with(_SKIPPED, "This is none of the tasks that I have rules for.")
    searched = any(segment.author == "policy" for segment in said) or "<information>\n" in said[0].text
    if not searched and "answer now." not in said[0].text:
        query = "; ".join(f"{name}: {context}" for name, context, _ in found.features)
        return search_for(query, "I should see what this person did before.")
    names = " and ".join(matter.name for matter in found.matters)
    return answer_with(respond(found, [_post(post) for post in posts_shown(said)], {}), f"It is about {names}.")


def _post(post: str) -> Example:
    """A post as a transcript shows it: a response stands at its end, or before its text as a title."""
    text, tag, rating = _POST.fullmatch(post).groups()  # type: ignore[union-attr]
    title, _, rest = text.rpartition(": ")  # no abstract has a colon
    return Example(text, tag or rating) if tag or rating else Example(rest, title)


_REPLIES: dict[str, Callable[[Mapping[str, str]], str]] = {
    "rpm_features": _features,
    "rpm_rated_features": _rated_features,
    "rpm_task_features": _features,
    "rpm_factors": _factors,
    "rpm_path": _path,
    "rpm_answer": _answer,
}
