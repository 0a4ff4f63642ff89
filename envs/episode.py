"""One attempt at one question, as a state machine without I/O."""

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from difflib import get_close_matches
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
from .text import clean, clean_lines
from .trajectory import Ended, Kind, Search, Segment, Trajectory, searches_of, segments_of

Need = Literal["text", "search", "score"]
INITIAL_SEARCH_TURN = -1  # the `turn` of a search made before the policy's first turn
_MINIMUM = {"top_k": 1, "max_searches": 0, "hit_chars": 20}
_CHOICES = {"repeat_hits": (True, False), "protocol": get_args(Protocol), "kind": get_args(Kind)}


class Episode:
    """`needs` says what comes next: "text" is given by `write`, "search" by `add_hits`, "score" by `score`.

    Every turn is a search, an answer or malformed. After `max_searches` turns the policy has one last turn to answer;
    an episode that ends without an answer is truncated. A baseline episode has no searches. With `initial_search` the
    environment searches for the question first, and the prompt shows the hits. `instructions` are an agent's own
    instructions to its policy; the prompt shows them before the question.
    """

    __slots__ = (
        "_started", "answer", "data", "ended", "error", "fetch_k", "hit_chars", "id", "instructions", "kind",
        "malformed", "max_searches", "needs", "observation", "protocol", "query", "question", "repeat_hits", "reward",
        "search_fields", "search_ms", "seconds", "seed", "segment_fields", "top_k", "turn",
    )  # fmt: skip

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
        id: str | None = None,  # noqa: A002 (the field's name in the record)
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
        self.search_fields: tuple[Any, ...] = ()
        self.search_ms: tuple[float | None, ...] = ()
        # Enough hits for `top_k` new ones after those already shown are left out.
        self.fetch_k = top_k if repeat_hits else top_k * max(1, self.max_searches + initial_search)
        self._started = perf_counter()
        self.seconds = 0.0
        self.observation = _prompt(protocol, top_k, self.max_searches, question.text, instructions)
        self.segment_fields: list[Any] = [] if initial_search else ["environment", self.observation, None, None]

    @property
    def searches_left(self) -> int:
        return max(0, self.max_searches - self.turn)

    @property
    def segments(self) -> list[Segment]:
        """The transcript so far."""
        return segments_of(self.segment_fields)

    @property
    def searches(self) -> list[Search]:
        return searches_of(self.search_fields, self.search_ms)

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
        """Take the policy's turn. Text after its action is dropped from the transcript, but the tokens are kept.

        `segment_tokens` are the tokens that the policy read for each segment so far. They are stored with the
        environment's segments.
        """
        if self.needs != "text":
            raise self._unexpected("text")
        action, end = read_action(text, self.protocol)
        if segment_tokens is not None:
            self._record_tokens(segment_tokens)
        self.segment_fields += "policy", text[:end], tokens, logprobs
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
            self._observe(action.reason)
        return action

    def add_hits(self, hits: Sequence[Hit], ms: float | None = None) -> None:
        """Take the hits of the search. A document that is not in this question's profile is an error."""
        if self.needs != "search":
            raise self._unexpected("search")
        profile = self.question.profile
        by_id, seen = profile.by_id, self._already_shown() if self.search_fields else ()
        lines = profile.lines.get(self.hit_chars)
        if lines is None:
            lines = profile.lines[self.hit_chars] = {}
        shown: list[tuple[str, float]] = []
        block = ["<information>"]
        for document, score in hits:
            document_id = document.id
            expected = by_id.get(document_id)
            if (expected is not document and expected != document) or not isfinite(score):
                raise self._bad_hit(document, score)
            if document_id in seen:
                continue
            shown.append((document_id, float(score)))
            line = lines.get(document_id)
            if line is None:
                line = lines[document_id] = _document_line(document, self.hit_chars)
            block += f"\n{len(shown)}. ", line
            if len(shown) == self.top_k:
                break
        block.append("\n</information>" if shown else "\nNothing more was found.\n</information>")
        self.search_ms += (ms,)
        if self.segment_fields:
            self.search_fields += (self.turn, self.query, tuple(shown))
            self._observe(*block)
        else:
            self.search_fields += (INITIAL_SEARCH_TURN, self.query, tuple(shown))
            self._show_prompt(*block)

    def score(self, reward: Reward) -> None:
        """Take the reward, scored or unscored."""
        if self.needs != "score":
            raise self._unexpected("score")
        self.reward = reward
        self.needs = None

    def truncate(self) -> None:
        """End the episode because the token budget is used up before an answer."""
        if self.needs != "text":
            raise self._unexpected("text")
        self._end("length")

    def fail(self, error: str) -> None:
        """End the episode because a component failed; it is truncated and unscored."""
        self.error = error
        self._end("error")
        self.reward = Reward(None, unscored=error)
        self.needs = None

    def copy(self) -> Self:
        """An independent copy of the episode in its current state."""
        other = copy(self)
        other.segment_fields = list(self.segment_fields)
        return other

    def trajectory(self) -> Trajectory:
        """The record. While the episode runs, it is a copy of the record so far."""
        return Trajectory(
            self.id,
            self.question.id,
            self.question.user_id,
            self.kind,
            self.segment_fields if self.ended else list(self.segment_fields),
            self.search_fields,
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

    def _record_tokens(self, segment_tokens: Sequence[Sequence[int] | None]) -> None:
        fields = self.segment_fields
        for start, tokens in zip(range(0, len(fields), 4), segment_tokens, strict=False):
            if fields[start] == "environment" and fields[start + 2] is None:
                fields[start + 2] = tokens

    def _show_prompt(self, *parts: str) -> None:
        self.needs = "text"
        self.observation = "".join((self.observation, "\n\n", *parts, "\n\n"))
        self.segment_fields += "environment", self.observation, None, None

    def _already_shown(self) -> Collection[str]:
        if self.repeat_hits:
            return ()
        return {document_id for hits in self.search_fields[2::3] for document_id, _ in hits}

    def _observe(self, *parts: str) -> None:
        self.turn += 1
        self.needs = "text"
        self.observation = "".join(("\n\n", *parts, _reminder(self.max_searches - self.turn)))
        self.segment_fields += "environment", self.observation, None, None

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


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of an environment's episodes; an unknown name or an invalid value is an `OptionError`."""
    for name, value in options.items():
        if name in _MINIMUM:
            if not isinstance(value, int) or isinstance(value, bool) or value < _MINIMUM[name]:
                raise OptionError(f"{name}={value!r}: give a whole number of at least {_MINIMUM[name]}")
        elif name in _CHOICES:
            if value not in _CHOICES[name]:
                raise OptionError(f"{name}={value!r}: give one of {', '.join(map(repr, _CHOICES[name]))}")
        else:
            known = [*_MINIMUM, *_CHOICES]
            near = get_close_matches(name, known, 1)
            raise OptionError(
                f"no option {name!r}" + (f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}")
            )
    return dict(options)


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
    budget = "\n\n".join(filter(None, (budget, instructions)))
    return fill(protocol, PROMPTS, budget=budget, question=clean_lines(question))


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


def _document_line(document: Document, hit_chars: int) -> str:
    """What is known of a document and its text on one line, cut to `hit_chars` characters."""
    line = clean(document.head + document.text)
    return line if len(line) <= hit_chars else line[: hit_chars - 1].rstrip() + "…"
