"""One attempt at one question, as a state machine without I/O."""

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from math import isfinite
from time import perf_counter
from typing import Any, Literal, Self

from .._util.keys import hidden, without_keys
from ..errors import EpisodeError, RetrievalError, ToolError
from .action import Action, Answer, Call, Malformed, Protocol, SearchProfile, read_action
from .calls import OVER_BUDGET, Calls, offer
from .observation import calls_reminder, document_line, prompt, prompt_name, prompt_version, reminder
from .question import Document, Question
from .retrieval import Hit
from .reward import Reward
from .text import clean, cut, shown_id
from .tools.costs import costs_text
from .tools.results import hits_of, result_text, written
from .tools.tool import Result, SearchRequest
from .tools.toolset import Toolset
from .trajectory import Ended, FlatFields, Kind, Search, Segment, Trajectory, searches_of, segments_of

Need = Literal["text", "call", "search", "score"]
HIT_CHARS = 2000  # at which a document is cut
NOTHING_FOUND = "Nothing more was found."
INITIAL_SEARCH_TURN = -1  # the `turn` of a search made before the policy's first turn
_MOST_ID_CHARS = 200  # of an id that the policy made up
_NO_COSTS: Mapping[str, float] = {}


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
        "_calls", "_started", "answer", "cites", "costs", "data", "ended", "error", "fetch_k", "hit_chars", "id",
        "instructions", "kind", "line_form", "malformed", "max_searches", "needs", "observation", "protocol", "query",
        "question", "repeat_hits", "reward", "search_fields", "search_ms", "seconds", "seed", "segment_fields", "tools",
        "top_k", "turn",
    )  # fmt: skip

    def __init__(
        self,
        question: Question,
        *,
        top_k: int = 3,
        max_searches: int = 4,
        repeat_hits: bool = False,
        hit_chars: int = HIT_CHARS,
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
        self._calls: Calls | None = None  # where one of the options of several tools is given
        if tools is None and max_shown is None and not cites and costs is None:
            self.observation = prompt(protocol, top_k, self.max_searches, question.text, instructions)
        else:
            self._offer(tools, max_shown, cites, costs)
        self.segment_fields: list[Any] = [] if initial_search else ["environment", self.observation, None, None]

    @property
    def searches_left(self) -> int:
        return max(0, self.max_searches - self.turn)

    @property
    def documents_left(self) -> int | None:
        """How many documents may still be shown; None for any number."""
        return self._calls.shown_left if self._calls else None

    @property
    def call(self) -> Call | None:
        """The call that waits for its result, where there are several tools."""
        return self._calls.call if self._calls else None

    @property
    def call_fields(self) -> FlatFields:
        """`tool, arguments, returned_text` of each search, in turn. Empty where no tool was called."""
        calls = self._calls
        return calls.recorded if calls is not None and calls.tools is not None and any(calls.recorded) else ()

    @property
    def prompt_name(self) -> str:
        return prompt_name(self.protocol, self.tools)

    @property
    def segments(self) -> list[Segment]:
        """The transcript so far."""
        return segments_of(self.segment_fields)

    @property
    def searches(self) -> list[Search]:
        return searches_of(self.search_fields, self.search_ms, self.call_fields)

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
        calls = self._calls
        if calls is None:
            action, end = read_action(text, self.protocol)
        else:
            calls.last = None
            action, end = read_action(text, self.protocol, self.tools, self.cites is not None)
            if end < len(text) and self.protocol == "tools" and self.tools is not None:
                action, end = calls.read_further(action, text, end, self.turn < self.max_searches)
        if segment_tokens is not None:
            self._record_tokens(segment_tokens)
        self.segment_fields += "policy", text[:end], tokens, logprobs
        if isinstance(action, Answer):
            self._take_answer(action)
        elif self.turn >= self.max_searches:
            self.malformed += isinstance(action, Malformed)
            self._end("budget")
        elif calls is not None and isinstance(action, Call):
            return self._begin_call(calls, action)
        elif isinstance(action, SearchProfile):
            self.query = action.query
            self.needs = "search"
        elif isinstance(action, Malformed):
            self.malformed += 1
            self._observe(action.reason)
        return action

    def add_result(self, result: Result | Malformed, ms: float | None = None) -> None:
        """Take the result of the call, which may be a search that is needed next, or the reason why it was refused."""
        calls = self._calls
        if self.needs != "call" or calls is None or calls.call is None:
            raise self._unexpected("call")
        if isinstance(result, SearchRequest):
            self.query = result.query
            self.fetch_k = calls.search(result, self.top_k, self.question.profile)
            self.needs = "search"
        elif isinstance(result, Malformed):
            calls.call, calls.last = None, result if calls.several else None
            self.malformed += 1
            self._observe(result.reason)
        elif isinstance(result, str):
            self.search_ms += (ms,)
            self.search_fields += (self.turn, written(calls.call), ())
            calls.record(0, returned_text=True)
            self._observe("<information>\n", result_text(result, self.hit_chars), "\n</information>")
        else:
            self._add_documents(result, calls, calls.call, ms)

    def _add_documents(self, result: Any, calls: Calls, call: Call, ms: float | None) -> None:
        hits, scored = hits_of(result, call.tool)
        calls.show_documents(scored)
        self.query = written(call)
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
        limit, calls = self.top_k, self._calls
        if calls is not None:
            view = calls.view
            if view is not None or calls.shown_left is not None:
                limit, seen = calls.limits(limit, seen, profile)
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
                line = lines[document_id] = document_line(document, self.line_form)
            block += f"\n{len(shown)}. ", line
            if len(shown) == limit:
                break
        if calls is not None:
            if view is not None and not view.scored:
                shown = [(document_id, None) for document_id, _ in shown]
            calls.record(len(shown))
            if calls.shown_left == 0:  # nothing is left to search for, so the next turn is the last
                self.max_searches = self.turn + bool(self.segment_fields)
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
        """End the episode before an answer: its token budget is used up, or a limit of what drives it."""
        if self.ended is not None:
            raise self._unexpected("text")
        self._end("length")

    def fail(self, error: str) -> None:
        """End the episode because a component failed; it is truncated and unscored."""
        self.error = hidden(error)  # it may quote a command or a URL
        self._end("error")
        self.reward = Reward(None, unscored=self.error)
        self.needs = None

    def change_top_k(self, top_k: int) -> None:
        """Show another number of documents from the next search on."""
        self.fetch_k = self.fetch_k // self.top_k * top_k
        self.top_k = top_k

    def copy(self) -> Self:
        """An independent copy of the episode in its current state."""
        other = copy(self)
        other.segment_fields = list(self.segment_fields)
        other._calls = copy(self._calls)
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
            data=without_keys(self.data),
            prompt=prompt_version(
                self.protocol, self.instructions, self.tools, self._calls.notes if self._calls else ""
            ),
            seed=self.seed,
            verdict=self.reward.verdict if self.reward else None,
            reward=self.reward,
            flags=self.reward.flags if self.reward else (),
            timing={"seconds": self.seconds},
            search_ms=self.search_ms,
            calls=self.call_fields,
            tools=self.tools.schemas if self.tools is not None and self.protocol == "tools" else None,
            error=self.error,
        )

    def _offer(
        self, tools: Toolset | None, max_shown: int | None, cites: bool, costs: Mapping[str, float] | None
    ) -> None:
        """Begins an episode with one of these options. A baseline neither cites nor pays."""
        cites = cites and self.kind == "personalised"
        if cites:
            self.cites = ()
        if costs and self.kind == "personalised":
            self.costs = costs
        question, told = self.question, costs_text(self.costs) if self.costs else ""
        offered = offer(
            question.text, question.profile.fields, question.profile.speakers, self.protocol, self.top_k,
            self.max_searches, self.instructions, tools, max_shown, cites, told,
        )  # fmt: skip
        self.tools = tools = offered.tools
        self.observation = offered.prompt
        self._calls = Calls(offered, max_shown)
        if cites or (tools is not None and tools.shows_ids):
            self.line_form = -self.hit_chars

    def _begin_call(self, calls: Calls, call: Call) -> Call | Malformed:
        """A tool that only reads the profile is called at once; others are left to what drives the episode."""
        tools = calls.tools
        assert tools is not None
        calls.call = call
        # The commonest call. Without this, a step with four tools takes a fifth longer than with one.
        if call.tool == tools.search and len(call.arguments) == 1:
            query = call.arguments["query"].strip()
            if query:
                self.query, self.needs = query, "search"
                self.fetch_k = self.top_k + calls.shown  # those that were shown may be left out
                return call
        self.needs = "call"
        tool = tools.tools[call.tool]
        if not tool.runs_inline:
            return call
        try:
            result = tool.result(self.question.profile, call.arguments)
            self.add_result(result)
        except Exception:  # what drives the episode calls it again, and tells of the failure as of any other tool's
            self.needs = "call"
            return call
        return result if isinstance(result, Malformed) else call

    def last_action(self, first: Action) -> Action:
        """What came of the last call of a turn that began with an action."""
        calls = self._calls
        return first if calls is None or calls.last is None else calls.last

    def _begin_next_call(self, calls: Calls) -> None:
        """Each further call of a turn takes one call off the budget; a call that is over the budget is refused."""
        calls.last = action = calls.next_action()
        if isinstance(action, Answer):
            self._take_answer(action)
        elif self.max_searches <= self.turn + 1:
            calls.last = Malformed(OVER_BUDGET)
            self._observe(OVER_BUDGET)
        else:
            self.max_searches -= 1
            if isinstance(action, Call):
                self._begin_call(calls, action)
            elif isinstance(action, Malformed):
                self.malformed += 1
                self._observe(action.reason)

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
        shown = {shown_id(document_id): document_id for hits in self.search_fields[2::3] for document_id, _ in hits}
        named = ((shown.get(shown_id(name)), clean(name)) for name in cites)
        return tuple(dict.fromkeys(found or cut(name, _MOST_ID_CHARS) for found, name in named if found or name))

    def _observe(self, *parts: str) -> None:
        calls = self._calls
        if calls is not None and calls.waiting:
            self._observe_one_of_several(calls, "".join(("\n\n", *parts, "\n\n")))
            return
        self.turn += 1
        self.needs = "text"
        left = self.max_searches - self.turn
        said = reminder(left) if calls is None else calls_reminder(left, calls.shown_left, calls.tools is not None)
        self.observation = "".join(("\n\n", *parts, said))
        self.segment_fields += "environment", self.observation, None, None
        if calls is not None and calls.several:
            self.observation = calls.earlier.rstrip("\n") + self.observation
            calls.earlier, calls.several = "", False

    def _observe_one_of_several(self, calls: Calls, result: str) -> None:
        self.segment_fields += "environment", result, None, None
        calls.earlier += result
        self._begin_next_call(calls)

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
