"""Calls: what several tools, a limit of documents, citations and costs add to the state of an episode."""

from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any, NamedTuple

from .action import Action, Answer, Call, Protocol, further_calls
from .observation import notes_of, prompt
from .question import Document, Profile
from .tools.results import MOST_SHOWN
from .tools.search_profile import search_profile
from .tools.tool import SearchRequest
from .tools.toolset import Toolset

OVER_BUDGET = "No calls were left for this one: it was not made."
_SEARCH_ALONE = Toolset([search_profile])


class Offer(NamedTuple):
    """What an episode offers its policy. Episodes that offer the same share it.

    `tools` is None where there is one search tool, and only a limit of documents, citations or costs.
    """

    tools: Toolset | None
    notes: str  # what the prompt says of citations and costs
    prompt: str


class View(NamedTuple):
    """What the next result shows, where a call asks for more than a search does: so many documents, and only these."""

    limit: int
    keep: Callable[[Document], bool] | None = None
    scored: bool = True


class Calls:
    """The call that runs, those that wait in the same turn, and the record of those that were made."""

    __slots__ = (
        "call", "earlier", "last", "notes", "recorded", "several", "shown", "shown_left", "tools", "view", "waiting",
    )  # fmt: skip

    def __init__(self, offer: Offer, max_shown: int | None) -> None:
        self.tools, self.notes, _ = offer
        self.shown_left = max_shown  # documents that may still be shown; None for any number
        self.shown = 0  # documents
        self.call: Call | None = None
        self.view: View | None = None
        self.several = False  # whether the turn holds several calls
        self.last: Action | None = None  # what came of the turn's last call, where it holds several
        self.waiting: tuple[Action, ...] = ()  # the further calls of the turn
        self.earlier = ""  # what the turn's earlier calls returned
        self.recorded: tuple[Any, ...] = ()  # `tool, arguments, returned_text` of each call

    def read_further(self, action: Action, text: str, end: int, may_call: bool) -> tuple[Action, int]:
        """The action to begin with, and where the turn's last call ends. The further calls wait.

        Where only an answer is allowed, it is the turn's answer, if there is one.
        """
        assert self.tools is not None
        self.waiting, end = further_calls(text, end, self.tools)
        if self.waiting and not may_call and not isinstance(action, Answer):
            action = next((one for one in self.waiting if isinstance(one, Answer)), action)
            self.waiting = ()
        self.several = bool(self.waiting)
        return action, end

    def next_action(self) -> Action:
        action, *others = self.waiting
        self.waiting = tuple(others)
        return action

    def search(self, request: SearchRequest, top_k: int, profile: Profile) -> int:
        """Takes the search that a tool asks for. Returns how many hits it needs for `k` new ones."""
        _, k, keep = request
        self.view = View(top_k if k is None else min(k, MOST_SHOWN), keep)
        needed = self.view.limit + self.shown
        return needed if keep is None else max(needed, len(profile))  # a filter may leave out any

    def show_documents(self, scored: bool) -> None:
        """Takes that a tool returned documents: all are shown, with their scores where it gave some."""
        self.view = View(MOST_SHOWN, None, scored)

    def limits(self, top_k: int, seen: Collection[str], profile: Profile) -> tuple[int, Collection[str]]:
        """How many documents the next result may show, and the ids of those that it leaves out."""
        view = self.view
        limit = top_k if view is None else view.limit
        if view is not None and (keep := view.keep) is not None:
            seen = {document.id for document in profile.documents if not keep(document)}.union(seen)
        return limit if self.shown_left is None else min(limit, self.shown_left), seen

    def record(self, shown: int, returned_text: bool = False) -> None:
        """Takes that the call has its result, which showed so many documents."""
        self.shown += shown
        if self.shown_left is not None:
            self.shown_left -= shown
        call = self.call
        self.recorded += (None, None, False) if call is None else (call.tool, call.arguments, returned_text)
        self.call = self.view = None


def tools_offered(tools: Toolset | None, cites: bool, protocol: Protocol) -> Toolset | None:
    """The tools of an episode. A native answer that names documents makes several of the search alone."""
    return _SEARCH_ALONE if tools is None and cites and protocol == "tools" else tools


@lru_cache(maxsize=4096)
def offer(
    question: str,
    fields: frozenset[str],
    speakers: tuple[str, ...],
    protocol: Protocol,
    top_k: int,
    max_searches: int,
    instructions: str,
    tools: Toolset | None,
    max_shown: int | None,
    cites: bool,
    costs: str,
) -> Offer:
    """What an episode offers for a question whose profile has documents with these `fields` and `speakers`."""
    tools = tools_offered(tools, cites, protocol)
    if tools is not None:
        tools = tools.fitted(fields, cites)
    notes = notes_of(protocol, cites, costs)
    shown = prompt(protocol, top_k, max_searches, question, instructions, tools, max_shown, notes, speakers)
    return Offer(tools, notes, shown)
