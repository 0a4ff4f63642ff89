"""Removes the text of the profile from a trajectory."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from ...envs.question import Profile
from ...envs.reward import AspectMatch, Reward, Verdict
from ...envs.trajectory import Segment, Trajectory

WITHHELD = "[withheld]"
RUN = 4  # so many consecutive words that also occur in a post are redacted
_UNSPACED = (  # Thai and Lao, Myanmar, Khmer, kana, Chinese characters: each is a word, as no space divides them
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    r"\U00020000-\U0003ffff]"
)
_WORD = re.compile(rf"{_UNSPACED}|(?:(?!{_UNSPACED})\w)+")
_BLOCK = re.compile(r"(<information>)(.*?)(</information>|\Z)", re.DOTALL | re.IGNORECASE)
_LINE = re.compile(r"^(\d+\. ).*$", re.MULTILINE)

Redact = Callable[[str], str]


def redacted(trajectory: Trajectory, profile: Profile | None) -> Trajectory:
    """Without hits, and without any text that repeats them or the posts of the profile.

    Without a profile, what is said beside the transcript is left out: it may quote posts that no search showed.
    """
    redact = _without(_posts(trajectory, profile))
    redact_beside = redact if profile is not None else _withheld
    verdict = trajectory.verdict and _verdict(trajectory.verdict, redact_beside)
    segment_fields = [value for segment in trajectory.segments for value in _segment(segment, redact)]
    search_fields = list(trajectory.search_fields)
    search_fields[1::3] = map(redact, search_fields[1::3])
    calls = list(trajectory.calls)
    calls[1::3] = [_redacted_value(arguments, redact) for arguments in calls[1::3]]
    shown = {document for search in trajectory.searches for document, _ in search.hits}
    cites = trajectory.cites and tuple(name if name in shown else redact(name) for name in trajectory.cites)
    return replace(
        trajectory,
        segment_fields=segment_fields,
        search_fields=search_fields,
        calls=calls,
        answer=trajectory.answer and redact(trajectory.answer),
        cites=cites,
        verdict=verdict,
        reward=trajectory.reward and _reward(trajectory.reward, verdict, redact_beside),
        usage=_redacted_value(trajectory.usage, redact_beside),
        error=trajectory.error and redact_beside(trajectory.error),
    )


def _withheld(text: str) -> str:
    return WITHHELD


def _posts(trajectory: Trajectory, profile: Profile | None) -> Iterator[str]:
    """The posts of the profile, and all that searches showed."""
    for document in profile.documents if profile else ():
        yield f"{document.title or ''}\n{document.text}"
    for segment in trajectory.segments:
        if segment.author == "environment":
            yield from (block[2] for block in _BLOCK.finditer(segment.text))


def _without(posts: Iterator[str]) -> Redact:
    known = {run for post in posts for run in _runs(_words(post))}

    def redact(text: str) -> str:
        found = list(_WORD.finditer(text))
        words = [match[0].casefold() for match in found]
        covered = [False] * len(words)
        for length in range(1, RUN + 1):
            for start in range(len(words) - length + 1):
                if tuple(words[start : start + length]) in known:
                    covered[start : start + length] = [True] * length
        return _replaced(text, [match.span() for match, hidden in zip(found, covered, strict=True) if hidden])

    return redact


def _runs(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every run of words, or all words of a shorter post."""
    if len(words) < RUN:
        if words:
            yield tuple(words)
        return
    yield from (tuple(words[start : start + RUN]) for start in range(len(words) - RUN + 1))


def _replaced(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """Spans without a word between them become one."""
    parts, end, hiding = list[str](), 0, False
    for start, stop in spans:
        between = text[end:start]
        if not (hiding and not _WORD.search(between)):
            parts += [between, WITHHELD]
        end, hiding = stop, True
    return "".join((*parts, text[end:]))


def _segment(segment: Segment, redact: Redact) -> tuple[str, str, None, Sequence[float] | None]:
    """Without its tokens, which are its text in other words."""
    text = segment.text
    if segment.author == "environment":
        text = _BLOCK.sub(lambda block: block[1] + _LINE.sub(rf"\g<1>{WITHHELD}", block[2]) + block[3], text)
    return segment.author, redact(text), None, segment.logprobs


def _verdict(verdict: Verdict, redact: Redact) -> Verdict:
    return replace(
        verdict, aspects=tuple(AspectMatch(redact(a.title), a.match, redact(a.reason)) for a in verdict.aspects)
    )


def _reward(reward: Reward, verdict: Verdict | None, redact: Redact) -> Reward:
    return replace(reward, verdict=verdict, unscored=reward.unscored and redact(reward.unscored))


def _redacted_value(value: Any, redact: Redact) -> Any:
    """The texts in a JSON value, such as a call's arguments."""
    match value:
        case str():
            return redact(value)
        case list():
            return [_redacted_value(one, redact) for one in value]
        case dict():
            return {name: _redacted_value(one, redact) for name, one in value.items()}
        case _:
            return value


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(text)]
