"""One attempt at one question, as a state machine without I/O."""

import re
from collections.abc import Collection, Sequence
from copy import copy
from functools import lru_cache
from math import isfinite
from time import perf_counter
from typing import Any, Literal, Self, get_args

from .._util.prompts import fill, version, version_of
from ..errors import EpisodeError, OptionError, RetrievalError
from .action import Action, Answer, Malformed, Protocol, SearchProfile, read_action
from .prompts import FOLDER as PROMPTS
from .question import Document, Question
from .retrieval import Hit
from .reward import Reward
from .trajectory import Ended, Kind, Search, Segment, Trajectory, searches_of, segments_of

Need = Literal["text", "search", "score"]
BEFORE = -1  # the turn of a search that was made before the policy's first one


class Episode:
    """Says what it needs next and takes it: `text` by `write`, `search` by `add_hits`, `score` by `score`.

    Every turn is a search, an answer or a mistake. After `max_searches` turns the policy has one last turn to answer;
    an episode that ends without an answer is truncated. A baseline episode has no searches at all. With
    `initial_search` the environment itself searches for the question first, and the prompt shows what it found.
    `instructions` are what an agent asks of its policy beyond the protocol; they stand before the question.
    """

    __slots__ = (
        "_started",
        "answer",
        "data",
        "ended",
        "error",
        "fetch_k",
        "hit_chars",
        "id",
        "instructions",
        "kind",
        "malformed",
        "max_searches",
        "needs",
        "observation",
        "protocol",
        "query",
        "question",
        "repeat_hits",
        "reward",
        "said",
        "search_ms",
        "seconds",
        "seed",
        "sought",
        "top_k",
        "turn",
    )

    def __init__(
        self,
        question: Question,
        *,
        top_k: int = 3,
        max_searches: int = 4,
        repeat_hits: bool = False,
        hit_chars: int = 2000,
        protocol: Protocol = "tags",
        kind: Kind = "personalised",
        initial_search: bool = False,
        instructions: str = "",
        id: str | None = None,  # noqa: A002 (the record's own word)
        data: str | None = None,
        seed: int | None = None,
    ) -> None:
        self.question = question
        self.top_k = top_k
        self.max_searches = max_searches if kind == "personalised" else 0
        self.repeat_hits = repeat_hits
        self.hit_chars = hit_chars
        self.protocol = protocol
        self.kind = kind
        self.instructions = instructions
        self.id = id if id is not None else f"{question.id}:{kind}"
        self.data = data
        self.seed = seed
        self.turn = 0
        self.malformed = 0
        self.needs: Need | None = "search" if initial_search else "text"
        self.query = question.search_text if initial_search else ""
        self.answer: str | None = None
        self.ended: Ended | None = None
        self.error: str | None = None
        self.reward: Reward | None = None
        self.sought: tuple[Any, ...] = ()
        self.search_ms: tuple[float | None, ...] = ()
        # How many hits to ask for, so that enough are left when those already shown are not shown again.
        self.fetch_k = top_k if repeat_hits else top_k * max(1, self.max_searches + initial_search)
        self._started = perf_counter()
        self.seconds = 0.0
        self.observation = _prompt(protocol, top_k, self.max_searches, question.text, instructions)
        self.said: list[Any] = [] if initial_search else ["environment", self.observation, None, None]

    @property
    def searches_left(self) -> int:
        return max(0, self.max_searches - self.turn)

    @property
    def segments(self) -> list[Segment]:
        """What was said so far, and by whom."""
        return segments_of(self.said)

    @property
    def searches(self) -> list[Search]:
        return searches_of(self.sought, self.search_ms)

    @property
    def terminated(self) -> bool:
        return self.ended == "answered"

    @property
    def truncated(self) -> bool:
        return self.ended is not None and self.ended != "answered"

    def write(
        self,
        text: str,
        tokens: Sequence[int] | None = None,
        logprobs: Sequence[float] | None = None,
        segment_tokens: Sequence[Sequence[int] | None] | None = None,
    ) -> Action:
        """Take the policy's turn. What it wrote after its action is dropped from the text, not from the tokens.

        `segment_tokens` are the tokens in which the policy read each segment so far; the environment's segments keep
        them.
        """
        if self.needs != "text":
            raise self._unexpected("text")
        action, end = read_action(text, self.protocol)
        if segment_tokens is not None:
            self._keep(segment_tokens)
        self.said += "policy", text[:end], tokens, logprobs
        if isinstance(action, Answer):
            self.answer = action.text
            self._end("answered")
        elif self.turn >= self.max_searches:
            self.malformed += isinstance(action, Malformed)
            self._end("budget")
        elif isinstance(action, SearchProfile):
            self.query = action.query
            self.needs = "search"
        else:
            self.malformed += 1
            self._reply(action.reason)
        return action

    def add_hits(self, hits: Sequence[Hit], ms: float | None = None) -> None:
        """Take the hits of the search; only documents of this question's own profile are ever shown."""
        if self.needs != "search":
            raise self._unexpected("search")
        profile = self.question.profile
        own, seen = profile.by_id, self._already_shown() if self.sought else ()
        lines = profile.lines.get(self.hit_chars)
        if lines is None:
            lines = profile.lines[self.hit_chars] = {}
        shown: list[tuple[str, float]] = []
        block = ["<information>"]
        for document, score in hits:
            name = document.id
            mine = own.get(name)
            if (mine is not document and mine != document) or not isfinite(score):
                raise self._bad_hit(document, score)
            if name in seen:
                continue
            shown.append((name, float(score)))
            line = lines.get(name)
            if line is None:
                line = lines[name] = _line(document, self.hit_chars)
            block += f"\n{len(shown)}. ", line
            if len(shown) == self.top_k:
                break
        block.append("\n</information>" if shown else "\nNothing more was found.\n</information>")
        self.search_ms += (ms,)
        if self.said:
            self.sought += (self.turn, self.query, tuple(shown))
            self._reply(*block)
        else:
            self.sought += (BEFORE, self.query, tuple(shown))
            self._open(*block)

    def score(self, reward: Reward) -> None:
        """Take what the episode was worth, or why that is not known."""
        if self.needs != "score":
            raise self._unexpected("score")
        self.reward = reward
        self.needs = None

    def truncate(self) -> None:
        """The policy's budget of tokens is used up before it answered."""
        if self.needs != "text":
            raise self._unexpected("text")
        self._end("length")

    def fail(self, error: str) -> None:
        """Something of ours broke: the episode is over and stays unscored."""
        self.error = error
        self._end("error")
        self.reward = Reward(None, unscored=error)
        self.needs = None

    def copy(self) -> Self:
        """The episode as it stands now; either goes on without the other."""
        twin = copy(self)
        twin.said = list(self.said)
        return twin

    def trajectory(self) -> Trajectory:
        """The record; that of an episode which still runs is a copy of it so far."""
        return Trajectory(
            self.id,
            self.question.id,
            self.question.user_id,
            self.kind,
            self.said if self.ended else list(self.said),
            self.sought,
            self.answer,
            self.ended,
            self.malformed,
            data=self.data,
            prompt=_version(self.protocol, self.instructions),
            seed=self.seed,
            verdict=self.reward.verdict if self.reward else None,
            reward=self.reward,
            flags=self.reward.flags if self.reward else (),
            timing={"seconds": self.seconds},
            search_ms=self.search_ms,
            error=self.error,
        )

    def _keep(self, segment_tokens: Sequence[Sequence[int] | None]) -> None:
        said = self.said
        for start, tokens in zip(range(0, len(said), 4), segment_tokens, strict=False):
            if said[start] == "environment" and said[start + 2] is None:
                said[start + 2] = tokens

    def _open(self, *parts: str) -> None:
        self.needs = "text"
        self.observation = "".join((self.observation, "\n\n", *parts, "\n\n"))
        self.said += "environment", self.observation, None, None

    def _already_shown(self) -> Collection[str]:
        if self.repeat_hits:
            return ()
        return {document for hits in self.sought[2::3] for document, _ in hits}

    def _reply(self, *parts: str) -> None:
        self.turn += 1
        self.needs = "text"
        self.observation = "".join(("\n\n", *parts, _reminder(self.max_searches - self.turn)))
        self.said += "environment", self.observation, None, None

    def _end(self, ended: Ended) -> None:
        self.ended = ended
        self.needs = "score"
        self.observation = ""
        self.seconds = perf_counter() - self._started

    def _unexpected(self, given: Need) -> EpisodeError:
        needs = f"needs {self.needs}" if self.needs else f"is over ({self.ended})"
        return EpisodeError(f"episode {self.id} was given {given} but {needs}")

    def _bad_hit(self, document: Document, score: float) -> RetrievalError:
        user = self.question.user_id
        if not isfinite(score):
            return RetrievalError(f"the retriever gave document {document.id!r} of user {user!r} the score {score!r}")
        return RetrievalError(f"the retriever returned document {document.id!r}, not one of user {user!r}")


def check_options(
    top_k: int = 3,
    max_searches: int = 4,
    repeat_hits: bool = False,
    hit_chars: int = 2000,
    protocol: str = "tags",
    kind: str = "personalised",
) -> None:
    """The options of an environment's episodes, checked once."""
    for name, value, least in (("top_k", top_k, 1), ("max_searches", max_searches, 0), ("hit_chars", hit_chars, 20)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise OptionError(f"{name}={value!r}: give a whole number of at least {least}")
    for name, word, words in (
        ("repeat_hits", repeat_hits, (True, False)),
        ("protocol", protocol, get_args(Protocol)),
        ("kind", kind, get_args(Kind)),
    ):
        if word not in words:
            raise OptionError(f"{name}={word!r}: give one of {', '.join(map(repr, words))}")


@lru_cache(maxsize=4096)
def _prompt(protocol: Protocol, top_k: int, max_searches: int, question: str, instructions: str) -> str:
    posts = "1 post" if top_k == 1 else f"up to {top_k} posts"
    match max_searches:
        case 0:
            budget = "There is nothing to search this time: answer now."
        case 1:
            budget = f"You can search once, for {posts}; then answer."
        case _:
            budget = f"You can search {max_searches} times, for {posts} each time; then answer."
    asked = "\n\n".join(filter(None, (budget, instructions)))
    return fill(protocol, PROMPTS, budget=asked, question=clean_lines(question))


@lru_cache(maxsize=256)
def _version(protocol: Protocol, instructions: str) -> str:
    return version(protocol, PROMPTS) + (f"+{version_of(instructions)}" if instructions else "")


@lru_cache(maxsize=256)
def _reminder(searches_left: int) -> str:
    match searches_left:
        case 0:
            return "\nNo searches are left: answer now.\n\n"
        case 1:
            return "\n1 search is left.\n\n"
        case _:
            return f"\n{searches_left} searches are left.\n\n"


def _line(document: Document, hit_chars: int) -> str:
    """A document on one line, its date and title before it, cut to length."""
    date = f"[{document.date}] " if document.date else ""
    title = f"{document.title}: " if document.title else ""
    line = clean(date + title + document.text)
    return line if len(line) <= hit_chars else line[: hit_chars - 1].rstrip() + "…"


_INDENT = "    "
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]")


def clean(text: str) -> str:
    """Foreign text as data: one line, no control characters, no `<`, so that it can neither open nor close a tag."""
    return " ".join(_CONTROL.sub("�", text).split()).replace("<", "&lt;")


def clean_lines(text: str) -> str:
    """As `clean`, but on lines of its own. All but the first are indented: none passes for the environment's."""
    lines: list[str] = []
    for line in text.splitlines():
        cleaned = clean(line)
        if lines and cleaned:
            lines.append(_INDENT + _blank_before(line) + cleaned)
        elif cleaned or (lines and lines[-1]):  # one blank line is as good as several
            lines.append(cleaned)
    return "\n".join(lines).rstrip()


def _blank_before(line: str) -> str:
    """The indentation of code, a list or a quote, in plain blanks."""
    return " " * len(line[: len(line) - len(line.lstrip())].expandtabs(4))
