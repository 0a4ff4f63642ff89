"""A fixed use of tools, in place of a policy: what a set of tools finds for a question, as a retriever."""

from collections.abc import Iterator

from ..agents.turn_format import call_tool
from ..envs.batch_step import BatchStepper
from ..envs.episode import Episode
from ..envs.question import Profile, Question
from ..envs.retrieval import Hit, Retriever
from ..envs.reward import no_reward
from ..envs.text import shown_id
from ..envs.tools import Tool, make_tools
from ..errors import OptionError

SHOWN_AT_ONCE = 10  # documents of a search, unless the tool says how many
_MOST_CALLS = 200


class ToolUse:
    """The documents that calls of the tools show, in their order.

    A tool that needs no argument is called once, one that needs a text is given the question. Then each tool that needs
    an `id` is given the documents shown, in their order; and so on, while the calls show new documents.
    """

    def __init__(self, spec: str, retriever: Retriever) -> None:
        tools = make_tools(spec)
        if tools is None:
            raise OptionError(f"tools={spec!r}: one search is what the retriever's own row shows; name another tool")
        self._tools = tools
        used = [tool for tool in tools.tools.values() if tool.name != "answer"]
        self._asked = [tool for tool in used if _needs(tool) != "id"]
        self._readers = [tool for tool in used if _needs(tool) == "id"]
        self._stepper = BatchStepper(retriever, no_reward)

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        question = Question("", profile.user_id, query, profile)
        episode = Episode(question, tools=self._tools, top_k=SHOWN_AT_ONCE, max_searches=_MOST_CALLS, max_shown=k)
        shown: list[str] = []
        for call in self._calls(query, shown):
            if not episode.searches_left:
                break
            self._stepper.step_one(episode, call)
            shown[:] = [document for hits in episode.search_fields[2::3] for document, _ in hits]
        return [Hit(profile.by_id[document], 1 / rank) for rank, document in enumerate(shown, 1)]

    def _calls(self, query: str, shown: list[str]) -> Iterator[str]:
        """`shown` grows by what each call shows."""
        read = 0  # documents that were given to the tools that take an id
        while True:
            before = len(shown)
            for tool in self._asked:
                yield call_tool(tool.name, dict.fromkeys(tool.required, query))
            for document in shown[read : (read := len(shown))]:
                for tool in self._readers:
                    yield call_tool(tool.name, {"id": shown_id(document)})
            if len(shown) == before:
                return


def _needs(tool: Tool) -> str | None:
    """The argument that a call must have; more than one, or one that is no text, has no fixed use."""
    if not tool.required:
        return None
    (name, *others) = tool.required
    if others or tool.by_name[name].schema.get("type") != "string" or "enum" in tool.by_name[name].schema:
        raise OptionError(
            f"{tool.signature} has no fixed use: a tool is measured where it needs no argument, one text, or an id"
        )
    return name
