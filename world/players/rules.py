"""Rule-based player that reads nothing but its prompt, for runs without a language model.

It answers the side queries of RPM and PlanPers, continues R2P's template, and plays the world's questions and LaMP's
tasks in any agent's transcript: it quotes the deciding posts, then concludes.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial

from ..._util.prompts import template
from ...agents.posts_shown import posts_shown
from ...agents.prompts import FOLDER
from ...agents.r2p_template import NAMES
from ...agents.turn_format import search_for
from ...envs.question import Question
from ...envs.trajectory import Segment
from .question_rules import facts_in, parse_question
from .steps import in_steps
from .task_rules import Example, ParsedText, as_list, as_quote, conclusion, deciding_examples, parse_text, respond

_SLOT = re.compile(r"\\\{\\\{(\w+)\\\}\\\}")  # after re.escape
_FACTOR = re.compile(r"^- (.+?) \(.*\): seen \d+ times: (.+)$", re.MULTILINE)
_SHARE = re.compile(r"([^,()]+) \((\d+)%\)")
_EXAMPLE = re.compile(r"^Past text: (.+)\n(?:Features:\n(?:.+\n)+?Reasoning: .*\n)?Response: (.+)$", re.MULTILINE)
_TOLD = re.compile(r"^Past text: (.+)$", re.MULTILINE)
_POST = re.compile(r"^(\d+\.) (?:\[[\d-]+\] )?(.*?)(?: Tag: (.+)| Rating: (.+) of 5)?$", re.MULTILINE)
_SKIPPED = "I cannot tell."
_IN_STEPS = template("tagpr", FOLDER).partition("{{tags}}")[0]


def play(question: Question, segments: Sequence[Segment], use_posts: bool = True) -> str:
    """The reply to a known side query, else the next turn of the transcript."""
    for name, reply in _REPLIES.items():
        found = _pattern(name).fullmatch(segments[-1].text)
        if found:
            return reply(found.groupdict())
    return _turn(segments, use_posts)


play_carelessly = partial(play, use_posts=False)  # ignores the posts shown


@cache
def _pattern(name: str) -> re.Pattern[str]:
    """Parses a prompt that was filled from this template."""
    return re.compile(_SLOT.sub(r"(?P<\1>.*)", re.escape(template(name, FOLDER))), re.DOTALL)


def _features(slots: Mapping[str, str]) -> str:
    """Features of a LaMP item, a question, or a post with facts."""
    if item := parse_text(slots["text"]):
        found = item.features
    elif question := parse_question(slots["text"]):
        found = [(topic.about, topic.query, "topic") for topic in question.topics]
    else:
        found = [(about, value, "topic") for about, value in facts_in(slots["text"])]
    return "\n".join(map(" | ".join, found))


def _rated_features(slots: Mapping[str, str]) -> str:
    """A wording feature counts if the response contains it; a subject always determines the form."""
    rows = []
    found = parse_text(slots["text"])
    for name, context, factor in found.features if found else ():
        used = factor != "wording" or context in slots["response"].lower()
        rows.append(f"{name} | {context} | {factor} | {1 if used else 0.2} | {1 if used else -1}")
    return "\n".join(rows)


def _factors(slots: Mapping[str, str]) -> str:
    """Every feature is a factor of its own, as users differ in each."""
    names = [line.rpartition(" (")[0] for line in slots["features"].splitlines()]
    return "\n".join(f"{name}: {name}" for name in names)


def _path(slots: Mapping[str, str]) -> str:
    names = [line.partition(" | ")[0] for line in slots["features"].splitlines()]
    return f"It is about {' and '.join(names)}, which for this person leads to {slots['response']}."


def _answer(slots: Mapping[str, str]) -> str:
    item, question = parse_text(slots["task"]), parse_question(slots["task"])
    if item is None:
        answer = question.answer(_TOLD.findall(slots["context"])) if question else ""
        return f"Answer: {answer or _SKIPPED}"
    known = {name: _shares(told) for name, told in _FACTOR.findall(slots["context"])}
    examples = [Example(text, response) for text, response in _EXAMPLE.findall(slots["context"])]
    names = " and ".join(subject.name for subject in item.subjects)
    return f"It is about {names}.\nAnswer: {respond(item, examples, known)}"


def _shares(told: str) -> dict[str, float]:
    return {response.strip(): int(percent) / 100 for response, percent in _SHARE.findall(told)}


def _plan(slots: Mapping[str, str]) -> str:
    if item := parse_text(slots["question"]):
        return "\n".join(_queries(item))
    question = parse_question(slots["question"])
    return "\n".join(question.queries([])) if question else ""


def _turn(segments: Sequence[Segment], use_posts: bool) -> str:
    """The next turn, or the rest of a turn from its prefix."""
    if segments[-1].author != "policy":
        return _whole_turn(segments, use_posts)
    head, end, action = _whole_turn(segments[:-1], use_posts).partition("</think>")
    thought = head.removeprefix("<think>")
    levels = [name for name in NAMES if any(f"{other}:" in segments[-1].text for other in NAMES)]
    left = [name for name in levels if f"{name}:" not in segments[-1].text]
    return "\n".join([thought, *(f"{name}: {thought}" for name in left)]) + end + action


def _whole_turn(segments: Sequence[Segment], use_posts: bool) -> str:
    """The next search if one is needed and allowed; else an answer from the posts shown."""
    text = segments[0].text.partition("\n\n<information>\n")[0].rpartition("Question: ")[2]
    posts = posts_shown(segments)
    posts_segments = segments if use_posts else []
    item, question = parse_text(text), parse_question(text)
    sentences = ["So it is what the posts shown, and what everybody knows, tell."]
    if item is not None:
        queries = _queries(item)
        sentences, answer = _reasoned(item, _examples(posts_segments))
    elif question is not None:
        queries, answer = question.queries(posts), question.answer(posts_shown(posts_segments))
    else:
        queries, answer = [], ""
    turns = sum(segment.author == "policy" for segment in segments) + ("<information>\n" in segments[0].text)
    if turns < len(queries) and "answer now." not in segments[-1].text:
        return search_for(queries[turns], "I should see what this person wrote before.")
    thought = f"\n{in_steps(sentences)}\n" if _IN_STEPS in segments[0].text else " ".join(sentences)
    # For the pilot, which trains on this, a word with a space before it is one token.
    return f"<think>{thought}</think>\n<answer> {answer or _SKIPPED}</answer>"


def _reasoned(item: ParsedText, examples: Sequence[Example]) -> tuple[list[str], str]:
    """Sentences and answer: the subjects asked about, the deciding posts (for tags all posts), the conclusion."""
    answer = respond(item, examples, {})
    if item.task == "tag":
        seen = ["".join(["A post says:", *(f"\n{one.number} {as_list(one)}." for one in examples)])] if examples else []
    else:
        seen = [f"A post says: {one.number} {as_quote(item, one)}." for one in deciding_examples(item, examples)]
    told = seen or ["No post says anything of it."]
    return [f"I am asked about: {_summary(item)}", *told, f"So it is {conclusion(item, answer)}."], answer


def _summary(item: ParsedText) -> str:
    """The words of the subjects, with their names for tags; or the wording for a title."""
    match item.task:
        case "title":
            return f"{', '.join(words for _, words, factor in item.features if factor == 'wording')}."
        case "tag":
            return "; ".join(f"{words.rstrip('.')}: {name}" for name, words, _ in item.features) + "."
        case _:
            return " ".join(words for _, words, _ in item.features)


def _queries(item: ParsedText) -> list[str]:
    """One query: the most similar posts are about all subjects."""
    return ["; ".join(f"{name}: {context}" for name, context, _ in item.features)]


def _examples(segments: Sequence[Segment]) -> list[Example]:
    """The posts shown, in order."""
    shown = (segment.text for segment in segments if segment.author == "environment")
    return [_example(found) for text in shown for found in _POST.finditer(text)]


def _example(post: re.Match[str]) -> Example:
    """The response is at the end of a post, or before its text as a title."""
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
