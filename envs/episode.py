"""One attempt at one question, as a state machine without I/O."""

from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from difflib import get_close_matches
from functools import lru_cache
from math import isfinite
from time import perf_counter
from typing import Any, Literal, Self, get_args

from .._util.prompts import fill, version, version_of
from ..errors import EpisodeError, OptionError, RetrievalError, ToolError
from .action import Action, Answer, Call, Malformed, Protocol, SearchProfile, further_calls, read_action
from .prompts import FOLDER as PROMPTS
from .question import Document, Question
from .retrieval import Hit
from .reward import Reward
from .text import clean, clean_lines
from .tools.costs import checked_costs, costs_text
from .tools.results import MOST_SHOWN, hits_of, result_text, written
from .tools.search_profile import search_profile
from .tools.tool import Result, SearchRequest
from .tools.toolset import Toolset, make_tools
from .trajectory import Ended, FlatFields, Kind, Search, Segment, Trajectory, searches_of, segments_of

Need = Literal["text", "call", "search", "score"]
NOTHING_FOUND = "Nothing more was found."
INITIAL_SEARCH_TURN = -1  # the `turn` of a search made before the policy's first turn
_OVER_BUDGET = "No calls were left for this one: it was not made."
_MINIMUM = {"top_k": 1, "max_searches": 0, "hit_chars": 20, "max_shown": 1}
_MAY_BE_NONE = ("max_shown",)
_MOST_ID_CHARS = 200  # of an id that the policy made up
_NO_COSTS: Mapping[str, float] = {}
_SEARCH_ALONE = Toolset([search_profile])
_CHOICES = {
    "repeat_hits": (True, False),
    "cites": (True, False),
    "protocol": get_args(Protocol),
    "kind": get_args(Kind),
}


class Episode:
    """`needs` says what comes next: "text" is given by `write`, "search" by `add_hits`, "score" by `score`.

    Every turn is a search, an answer or malformed. After `max_searches` turns the policy has one last turn to answer;
    an episode that ends without an answer is truncated. A baseline episode has no searches. With `initial_search` the
    environment searches for the question first, and the prompt shows the hits. `instructions` are an agent's own
    instructions to its policy; the prompt shows them before the question.

    With several `tools`, a turn is a call of one of them: "call" is given by `add_result`, and a search may follow.
    Every call counts as a search. `max_shown` limits the documents shown in the whole episode. In protocol "tools", a
    turn may hold several calls: each result is a segment of its own, and calls over the budget are refused.

    With `cites`, documents are shown with their ids, and an answer may name those that it rests on. `costs` are what a
    call of each tool costs, which the prompt tells and the reward `cost` takes off.
    """

    __slots__ = (
        "_extended", "_keep", "_limit", "_notes", "_pending", "_results", "_scored", "_shown", "_started", "answer",
        "call", "calls", "cites", "costs", "data", "ended", "error", "fetch_k", "hit_chars", "id", "instructions",
        "kind", "line_form", "malformed", "max_searches", "needs", "observation", "protocol", "query", "question",
        "repeat_hits", "reward", "search_fields", "search_ms", "seconds", "seed", "segment_fields", "shown_left",
        "tools", "top_k", "turn",
    )  # fmt: skip
    # Set where an option of several tools is given: `tools`, `max_shown`, `cites` or `costs`.
    call: Call | None
    calls: tuple[Any, ...]
    shown_left: int | None  # documents that may still be shown; None for any number
    _keep: Callable[[Document], bool] | None
    _limit: int  # documents that the next result may show
    _notes: str  # what the prompt says of citations and costs
    _pending: tuple[Action, ...]  # the further calls of the turn
    _results: str  # what the turn's earlier calls returned
    _scored: bool
    _shown: int

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
        tools: Toolset | None = None,
        max_shown: int | None = None,
        cites: bool = False,
        costs: Mapping[str, float] | None = None,
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
        self.cites: tuple[str, ...] | None = None  # documents that the answer names; None where it is not asked to
        self.costs = _NO_COSTS
        self.ended: Ended | None = None
        self.error: str | None = None
        self.reward: Reward | None = None
        self.search_fields: tuple[Any, ...] = ()
        self.search_ms: tuple[float | None, ...] = ()
        # Enough hits for `top_k` new ones after those already shown are left out.
        self.fetch_k = top_k if repeat_hits else top_k * max(1, self.max_searches + initial_search)
        self._started = perf_counter()
        self.seconds = 0.0
        self.tools: Toolset | None = None
        self.line_form = hit_chars  # the key in `Profile.lines` of the lines shown: their length, negative with ids
        self._extended = tools is not None or max_shown is not None or cites or costs is not None
        if self._extended:
            self._extend(tools, max_shown, cites, costs or {})
        else:
            self.observation = _prompt(protocol, top_k, self.max_searches, question.text, instructions)
        self.segment_fields: list[Any] = [] if initial_search else ["environment", self.observation, None, None]

    @property
    def searches_left(self) -> int:
        return max(0, self.max_searches - self.turn)

    @property
    def documents_left(self) -> int | None:
        """How many documents may still be shown; None for any number."""
        return self.shown_left if self._extended else None

    @property
    def segments(self) -> list[Segment]:
        """The transcript so far."""
        return segments_of(self.segment_fields)

    @property
    def searches(self) -> list[Search]:
        return searches_of(self.search_fields, self.search_ms, self._recorded_calls() if self._extended else ())

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
        action, end = read_action(text, self.protocol, self.tools, self.cites is not None)
        if self.tools is not None and self.protocol == "tools":
            action, end = self._read_further_calls(action, text, end)
        if segment_tokens is not None:
            self._record_tokens(segment_tokens)
        self.segment_fields += "policy", text[:end], tokens, logprobs
        if isinstance(action, Answer):
            self._take_answer(action)
        elif self.turn >= self.max_searches:
            self.malformed += isinstance(action, Malformed)
            self._end("budget")
        elif isinstance(action, SearchProfile):
            self.query = action.query
            self.needs = "search"
        elif isinstance(action, Call):
            return self._begin_call(action)
        else:
            self.malformed += 1
            self._observe(action.reason)
        return action

    def add_result(self, result: Result | Malformed, ms: float | None = None) -> None:
        """Take the result of the call, which may be a search that is needed next, or the reason why it was refused."""
        if self.needs != "call":
            raise self._unexpected("call")
        call = self.call
        assert call is not None
        if isinstance(result, SearchRequest):
            self.query, k, self._keep = result
            if k is not None:
                self._limit = k
            # Enough for `k` new ones; a search with a filter needs them all.
            new = self._limit + self._shown
            self.fetch_k = new if self._keep is None else max(new, len(self.question.profile))
            self.needs = "search"
        elif isinstance(result, Malformed):
            self.malformed += 1
            self.call = None
            self._observe(result.reason)
        elif isinstance(result, str):
            self.search_ms += (ms,)
            self.search_fields += (self.turn, written(call), ())
            self._end_call(0)
            self._observe("<information>\n", result_text(result, self.hit_chars), "\n</information>")
        else:
            hits, self._scored = hits_of(result, call.tool)
            self.query, self._limit = written(call), MOST_SHOWN
            self.needs = "search"
            try:
                self.add_hits(hits, ms)
            except RetrievalError as error:
                raise ToolError(str(error).replace("the retriever", f"the tool {call.tool}")) from None

    def add_hits(self, hits: Sequence[Hit], ms: float | None = None) -> None:
        """Take the hits of the search. A document that is not in this question's profile is an error."""
        if self.needs != "search":
            raise self._unexpected("search")
        profile = self.question.profile
        by_id, seen = profile.by_id, self._already_shown() if self.search_fields else ()
        limit = self.top_k
        if self._extended:
            limit = self._limit if self.shown_left is None else min(self._limit, self.shown_left)
            if self._keep is not None:
                seen = {document.id for document in profile.documents if not self._keep(document)}.union(seen)
        lines = profile.lines.get(self.line_form)
        if lines is None:
            lines = profile.lines[self.line_form] = {}
        shown: list[tuple[str, float | None]] = []
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
                line = lines[document_id] = _document_line(document, self.line_form)
            block += f"\n{len(shown)}. ", line
            if len(shown) == limit:
                break
        if self._extended:
            if not self._scored:
                shown = [(document_id, None) for document_id, _ in shown]
            self._end_call(len(shown))
        block.append("\n</information>" if shown else f"\n{NOTHING_FOUND}\n</information>")
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

    def change_top_k(self, top_k: int) -> None:
        """Show another number of documents from the next search on."""
        self.fetch_k = self.fetch_k // self.top_k * top_k
        self.top_k = top_k
        if self._extended:
            self._limit = top_k

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
            self.cites,
            data=self.data,
            prompt=_version(self.protocol, self.instructions, self.tools, self._notes if self._extended else ""),
            seed=self.seed,
            verdict=self.reward.verdict if self.reward else None,
            reward=self.reward,
            flags=self.reward.flags if self.reward else (),
            timing={"seconds": self.seconds},
            search_ms=self.search_ms,
            calls=self._recorded_calls() if self._extended else (),
            tools=self.tools.schemas if self.tools is not None and self.protocol == "tools" else None,
            error=self.error,
        )

    def _extend(self, tools: Toolset | None, max_shown: int | None, cites: bool, costs: Mapping[str, float]) -> None:
        """Sets what an episode with one of these options has beyond others. A baseline neither cites nor pays."""
        if self.kind == "personalised":
            self.cites = () if cites else None
            self.costs = costs
        if self.cites is not None and self.protocol == "tools" and tools is None:
            tools = _SEARCH_ALONE
        if tools is not None:
            self.tools = tools.fitted(self.question.profile, self.cites is not None)
        if self.cites is not None or (self.tools is not None and self.tools.shows_ids):
            self.line_form = -self.hit_chars
        self._notes = _notes(self.protocol if self.cites is not None else None, costs_text(self.costs))
        self.shown_left = max_shown
        self.call = self._keep = None
        self.calls = ()
        self._limit = self.top_k
        self._pending, self._results = (), ""
        self._scored = True
        self._shown = 0
        self.observation = _prompt(
            self.protocol, self.top_k, self.max_searches, self.question.text, self.instructions, self.tools, max_shown,
            self._notes,
        )  # fmt: skip

    def _read_further_calls(self, action: Action, text: str, end: int) -> tuple[Action, int]:
        """The action to begin with: where only an answer is allowed, the turn's answer, if it has one."""
        assert self.tools is not None
        self._results = ""
        self._pending, end = further_calls(text, end, self.tools)
        if self._pending and self.turn >= self.max_searches and not isinstance(action, Answer):
            action = next((one for one in self._pending if isinstance(one, Answer)), action)
            self._pending = ()
        return action, end

    def _begin_next_call(self) -> None:
        """Each further call of a turn takes one call off the budget; a call that is over the budget is refused."""
        action, self._pending = self._pending[0], self._pending[1:]
        if isinstance(action, Answer):
            self._take_answer(action)
        elif self.max_searches <= self.turn + 1:
            self._observe(_OVER_BUDGET)
        else:
            self.max_searches -= 1
            if isinstance(action, Call):
                self._begin_call(action)
            elif isinstance(action, Malformed):
                self.malformed += 1
                self._observe(action.reason)

    def _begin_call(self, call: Call) -> Call | Malformed:
        """A tool that only reads the profile is called at once; others are left to what drives the episode."""
        assert self.tools is not None
        self.call = call
        tool = self.tools.tools[call.tool]
        # The commonest call. Without this, a step with four tools takes a fifth longer than with one.
        if tool.function is search_profile.function and len(call.arguments) == 1:
            query = call.arguments["query"].strip()
            if query:
                self.query, self.needs = query, "search"
                self.fetch_k = self.top_k + self._shown
                return call
        self.needs = "call"
        if not tool.runs_inline:
            return call
        result = tool.result(self.question.profile, call.arguments)
        self.add_result(result)
        return result if isinstance(result, Malformed) else call

    def _take_answer(self, action: Answer) -> None:
        self.answer = action.text
        if self.cites is not None:
            self.cites = self._named(action.cites)
        self._end("answered")

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

    def _named(self, cites: Sequence[str]) -> tuple[str, ...]:
        """The documents of these ids, as they were shown; what was not shown stays as the policy wrote it."""
        shown = {clean(document_id): document_id for hits in self.search_fields[2::3] for document_id, _ in hits}
        written = (clean(name) for name in cites)
        return tuple(dict.fromkeys(shown.get(name, _cut(name, _MOST_ID_CHARS)) for name in written if name))

    def _recorded_calls(self) -> FlatFields:
        """Empty where no tool was called."""
        return self.calls if self.tools is not None and any(self.calls) else ()

    def _end_call(self, shown: int) -> None:
        """Counts the documents shown, and keeps the call for the record."""
        if self.shown_left is not None:
            self.shown_left -= shown
            if not self.shown_left:  # nothing is left to search for, so the next turn is the last
                self.max_searches = self.turn + bool(self.segment_fields)
        if not self.repeat_hits:
            self._shown += shown
        self.calls += (None, None) if (call := self.call) is None else (call.tool, call.arguments)
        self.call = self._keep = None
        self._limit = self.top_k
        self._scored = True

    def _observe(self, *parts: str) -> None:
        if self._extended and self._pending:
            result = "".join(("\n\n", *parts, "\n\n"))
            self.segment_fields += "environment", result, None, None
            self._results += result
            self._begin_next_call()
            return
        self.turn += 1
        self.needs = "text"
        left = self.max_searches - self.turn
        reminder = (
            _extended_reminder(left, self.shown_left, self.tools is not None) if self._extended else _reminder(left)
        )
        self.observation = "".join(("\n\n", *parts, reminder))
        self.segment_fields += "environment", self.observation, None, None
        if self._extended and self._results:
            self.observation = self._results.rstrip("\n") + self.observation

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
    """The options of an environment's episodes, with `tools` made from their spec.

    An unknown name or an invalid value is an `OptionError`.
    """
    checked = dict(options)
    for name, value in options.items():
        if name == "tools":
            checked[name] = make_tools(value)
        elif name == "costs":
            continue
        elif name in _MINIMUM:
            if name in _MAY_BE_NONE and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < _MINIMUM[name]:
                raise OptionError(f"{name}={value!r}: give a whole number of at least {_MINIMUM[name]}")
        elif name in _CHOICES:
            if value not in _CHOICES[name]:
                raise OptionError(f"{name}={value!r}: give one of {', '.join(map(repr, _CHOICES[name]))}")
        else:
            known = [*_MINIMUM, *_CHOICES, "tools", "costs"]
            near = get_close_matches(name, known, 1)
            raise OptionError(
                f"no option {name!r}" + (f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}")
            )
    if checked.get("costs") is not None:
        checked["costs"] = checked_costs(checked["costs"], checked.get("tools"))
    return checked


@lru_cache(maxsize=4096)
def _prompt(
    protocol: Protocol,
    top_k: int,
    max_searches: int,
    question: str,
    instructions: str,
    tools: Toolset | None = None,
    max_shown: int | None = None,
    notes: str = "",
) -> str:
    budget = _budget(top_k, max_searches, max_shown) if tools is None else _calls_budget(top_k, max_searches, max_shown)
    budget = "\n\n".join(filter(None, (budget, notes, instructions)))
    described = {} if tools is None else {"tools": tools.described(protocol)}
    return fill(_template(protocol, tools), PROMPTS, budget=budget, question=clean_lines(question), **described)


@lru_cache(maxsize=256)
def _notes(citing: Protocol | None, costs: str) -> str:
    cites = fill(f"cites_{citing}", PROMPTS) if citing else ""
    return "\n\n".join(filter(None, (cites, fill("costs", PROMPTS, costs=costs) if costs else "")))


def _template(protocol: Protocol, tools: Toolset | None) -> str:
    return protocol if tools is None else f"{protocol}_several"


def _budget(top_k: int, max_searches: int, max_shown: int | None) -> str:
    posts = "1 post" if top_k == 1 else f"up to {top_k} posts"
    in_all = "" if max_shown is None else f" and {max_shown} in all"
    match max_searches:
        case 0:
            return "There is nothing to search this time: answer now."
        case 1:
            return f"You can search once, for {posts}{in_all}; then answer."
        case _:
            return f"You can search {max_searches} times, for {posts} each time{in_all}; then answer."


def _calls_budget(top_k: int, max_calls: int, max_shown: int | None) -> str:
    if max_calls == 0:
        return "There is nothing to search this time: answer now."
    times = "once" if max_calls == 1 else f"{max_calls} times"
    in_all = "" if max_shown is None else f" and be shown up to {_posts(max_shown)} in all"
    return f"You can call {times}{in_all}; then answer. A search shows {_posts(top_k)} unless you say how many."


def _posts(count: int) -> str:
    return "1 post" if count == 1 else f"{count} posts"


@lru_cache(maxsize=256)
def _version(protocol: Protocol, instructions: str, tools: Toolset | None, notes: str) -> str:
    described = None if tools is None else tools.described(protocol)
    added = [f"+{version_of(text)}" for text in (described, notes, instructions) if text]
    return "".join((version(_template(protocol, tools), PROMPTS), *added))


@lru_cache(maxsize=256)
def _reminder(searches_left: int) -> str:
    match searches_left:
        case 0:
            return "\nNo searches are left: answer now.\n\n"
        case 1:
            return "\n1 search is left.\n\n"
        case _:
            return f"\n{searches_left} searches are left.\n\n"


@lru_cache(maxsize=4096)
def _extended_reminder(left: int, shown_left: int | None, calls: bool) -> str:
    """With several tools, or a limit of the documents shown."""
    if shown_left == 0:
        return "\nNo more posts can be shown: answer now.\n\n"
    one, many = ("call", "calls") if calls else ("search", "searches")
    if left <= 0:
        return f"\nNo {many} are left: answer now.\n\n"
    posts = "" if shown_left is None else f", and {_posts(shown_left)} can be shown"
    return f"\n{f'1 {one} is' if left == 1 else f'{left} {many} are'} left{posts}.\n\n"


def _document_line(document: Document, form: int) -> str:
    """What is known of a document and its text on one line, cut to so many characters; with the id if negative."""
    if form < 0:
        return f"({clean(document.id)}) {_document_line(document, -form)}"
    return _cut(clean(document.head + document.text), form)


def _cut(line: str, most: int) -> str:
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"
