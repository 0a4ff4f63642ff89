"""A model that follows rules about the world, and sees nothing but its prompt: for runs without a language model.

It answers what RPM and PlanPers ask aside, keeps to R2P's template once that is begun, and plays the world's questions
and LaMP's tasks in any agent's transcript: it quotes what decides, and says what follows.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial

from ..._util.prompts import template
from ...agents.prompts import FOLDER
from ...agents.r2p_template import NAMES
from ...agents.turn_format import search_for
from ...envs.question import Question
from ...envs.trajectory import Segment
from .oracle import posts_shown
from .question_rules import read_question, told_in
from .sentences import in_steps
from .task_rules import Example, Read, concluded, deciding, listed, quoted, read, respond

_SLOT = re.compile(r"\\\{\\\{(\w+)\\\}\\\}")  # as re.escape leaves it
_FACTOR = re.compile(r"^- (.+?) \(.*\): seen \d+ times: (.+)$", re.MULTILINE)
_SHARE = re.compile(r"([^,()]+) \((\d+)%\)")
_EXAMPLE = re.compile(r"^Past text: (.+)\n(?:Features:\n(?:.+\n)+?Reasoning: .*\n)?Response: (.+)$", re.MULTILINE)
_TOLD = re.compile(r"^Past text: (.+)$", re.MULTILINE)
_POST = re.compile(r"^(\d+\.) (?:\[[\d-]+\] )?(.*?)(?: Tag: (.+)| Rating: (.+) of 5)?$", re.MULTILINE)
_SKIPPED = "I cannot tell."
_IN_STEPS = template("tagpr", FOLDER).partition("{{tags}}")[0]


def play(question: Question, said: Sequence[Segment], heeds: bool = True) -> str:
    """An answer to the prompt that it recognises, else the next turn of the transcript."""
    for name, reply in _REPLIES.items():
        found = _pattern(name).fullmatch(said[-1].text)
        if found:
            return reply(found.groupdict())
    return _turn(said, heeds)


play_carelessly = partial(play, heeds=False)  # says what anybody would, whatever the posts shown tell of the person


@cache
def _pattern(name: str) -> re.Pattern[str]:
    """A prompt's template, to be read backwards."""
    return re.compile(_SLOT.sub(r"(?P<\1>.*)", re.escape(template(name, FOLDER))), re.DOTALL)


def _features(slots: Mapping[str, str]) -> str:
    """Of a work, a question, or a post that tells facts."""
    if work := read(slots["text"]):
        found = work.features
    elif question := read_question(slots["text"]):
        found = [(topic.about, topic.query, "topic") for topic in question.topics]
    else:
        found = [(about, value, "topic") for about, value in told_in(slots["text"])]
    return "\n".join(map(" | ".join, found))


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
    work, question = read(slots["task"]), read_question(slots["task"])
    if work is None:
        answer = question.answer(_TOLD.findall(slots["context"])) if question else ""
        return f"Answer: {answer or _SKIPPED}"
    known = {name: _shares(told) for name, told in _FACTOR.findall(slots["context"])}
    examples = [Example(text, response) for text, response in _EXAMPLE.findall(slots["context"])]
    names = " and ".join(matter.name for matter in work.matters)
    return f"It is about {names}.\nAnswer: {respond(work, examples, known)}"


def _shares(told: str) -> dict[str, float]:
    return {response.strip(): int(percent) / 100 for response, percent in _SHARE.findall(told)}


def _plan(slots: Mapping[str, str]) -> str:
    if work := read(slots["question"]):
        return "\n".join(_queries(work))
    question = read_question(slots["question"])
    return "\n".join(question.queries([])) if question else ""


def _turn(said: Sequence[Segment], heeds: bool) -> str:
    """The next turn, or the rest of one that was begun."""
    if said[-1].author != "policy":
        return _whole_turn(said, heeds)
    head, end, action = _whole_turn(said[:-1], heeds).partition("</think>")
    thought = head.removeprefix("<think>")
    levels = [name for name in NAMES if any(f"{other}:" in said[-1].text for other in NAMES)]
    left = [name for name in levels if f"{name}:" not in said[-1].text]
    return "\n".join([thought, *(f"{name}: {thought}" for name in left)]) + end + action


def _whole_turn(said: Sequence[Segment], heeds: bool) -> str:
    """The next search, if one is left to make and may be made; then what the posts shown allow to say."""
    text = said[0].text.partition("\n\n<information>\n")[0].rpartition("Question: ")[2]
    posts = posts_shown(said)
    heeded = said if heeds else []
    work, question = read(text), read_question(text)
    sentences = ["So it is what the posts shown, and what everybody knows, tell."]
    if work is not None:
        queries = _queries(work)
        sentences, answer = _reasoned(work, _examples(heeded))
    elif question is not None:
        queries, answer = question.queries(posts), question.answer(posts_shown(heeded))
    else:
        queries, answer = [], ""
    made = sum(segment.author == "policy" for segment in said) + ("<information>\n" in said[0].text)
    if made < len(queries) and "answer now." not in said[-1].text:
        return search_for(queries[made], "I should see what this person wrote before.")
    thought = f"\n{in_steps(sentences)}\n" if _IN_STEPS in said[0].text else " ".join(sentences)
    # To the pilot, who learns from this, a word is one token where a space is before it.
    return f"<think>{thought}</think>\n<answer> {answer or _SKIPPED}</answer>"


def _reasoned(work: Read, examples: Sequence[Example]) -> tuple[list[str], str]:
    """What is asked about, the posts that decide, or all of them where that is to be seen, and what follows."""
    answer = respond(work, examples, {})
    if work.task == "tag":
        seen = ["".join(["A post says:", *(f"\n{one.number} {listed(one)}." for one in examples)])] if examples else []
    else:
        seen = [f"A post says: {one.number} {quoted(work, one)}." for one in deciding(work, examples)]
    told = seen or ["No post says anything of it."]
    return [f"I am asked about: {_gist(work)}", *told, f"So it is {concluded(work, answer)}."], answer


def _gist(work: Read) -> str:
    """The sentences that matter, with what a tag may be for; or the words that a title may need."""
    match work.task:
        case "title":
            return f"{', '.join(words for _, words, factor in work.features if factor == 'wording')}."
        case "tag":
            return "; ".join(f"{words.rstrip('.')}: {name}" for name, words, _ in work.features) + "."
        case _:
            return " ".join(words for _, words, _ in work.features)


def _queries(work: Read) -> list[str]:
    """One is enough: what is most alike is about all of it."""
    return ["; ".join(f"{name}: {context}" for name, context, _ in work.features)]


def _examples(said: Sequence[Segment]) -> list[Example]:
    """The posts shown, in their order."""
    shown = (segment.text for segment in said if segment.author == "environment")
    return [_example(found) for text in shown for found in _POST.finditer(text)]


def _example(post: re.Match[str]) -> Example:
    """A response stands at the end of a post, or before its text as a title."""
    number, text, tag, rating = post.groups()
    title, _, rest = text.rpartition(": ")  # no abstract has a colon
    return Example(text, tag or rating, number) if tag or rating else Example(rest, title, number)


_REPLIES: dict[str, Callable[[Mapping[str, str]], str]] = {
    "plan": _plan,
    "rpm_features": _features,
    "rpm_rated_features": _rated_features,
    "rpm_task_features": _features,
    "rpm_factors": _factors,
    "rpm_path": _path,
    "rpm_answer": _answer,
}
