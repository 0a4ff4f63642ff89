"""What a policy reads of an episode: its prompt, what is left after a turn, and a line for each document."""

from functools import lru_cache

from .._util.prompts import fill, version, version_of
from .action import Protocol
from .prompts import FOLDER as PROMPTS
from .question import Document
from .text import clean, clean_lines, cut, shown_id
from .tools.toolset import Toolset


def prompt_name(protocol: Protocol, tools: Toolset | None) -> str:
    """Of the prompt's text: `tags`, `tools`, and each of them with `_several` tools."""
    return protocol if tools is None else f"{protocol}_several"


@lru_cache(maxsize=4096)
def prompt(
    protocol: Protocol,
    top_k: int,
    max_searches: int,
    question: str,
    instructions: str,
    tools: Toolset | None = None,
    max_shown: int | None = None,
    notes: str = "",
    speakers: tuple[str, ...] = (),
) -> str:
    """`tools` are those of an episode that offers several, `notes` what is said of citations and costs.

    `speakers` are whom a filter by speaker may name.
    """
    budget = _budget(top_k, max_searches, max_shown) if tools is None else _calls_budget(top_k, max_searches, max_shown)
    budget = "\n\n".join(filter(None, (budget, notes, instructions)))
    described = {} if tools is None else {"tools": tools.described(protocol, speakers)}
    return fill(prompt_name(protocol, tools), PROMPTS, budget=budget, question=clean_lines(question), **described)


@lru_cache(maxsize=256)
def prompt_version(protocol: Protocol, instructions: str, tools: Toolset | None = None, notes: str = "") -> str:
    """The prompt's name and the hashes of its texts."""
    described = None if tools is None else tools.described(protocol)
    added = [f"+{version_of(text)}" for text in (described, notes, instructions) if text]
    return "".join((version(prompt_name(protocol, tools), PROMPTS), *added))


def notes_of(protocol: Protocol, cites: bool, costs: str) -> str:
    """What the prompt says of citations, and of costs."""
    parts = (fill(f"cites_{protocol}", PROMPTS) if cites else "", fill("costs", PROMPTS, costs=costs) if costs else "")
    return "\n\n".join(filter(None, parts))


@lru_cache(maxsize=256)
def reminder(searches_left: int) -> str:
    match searches_left:
        case 0:
            return "\nNo searches are left: answer now.\n\n"
        case 1:
            return "\n1 search is left.\n\n"
        case _:
            return f"\n{searches_left} searches are left.\n\n"


@lru_cache(maxsize=4096)
def calls_reminder(left: int, shown_left: int | None, calls: bool) -> str:
    """With several tools (`calls`), or a limit of the documents shown."""
    if shown_left == 0:
        return "\nNo more posts can be shown: answer now.\n\n"
    one, many = ("call", "calls") if calls else ("search", "searches")
    if left <= 0:
        return f"\nNo {many} are left: answer now.\n\n"
    posts = "" if shown_left is None else f", and {_posts(shown_left)} can be shown"
    return f"\n{f'1 {one} is' if left == 1 else f'{left} {many} are'} left{posts}.\n\n"


def document_line(document: Document, form: int) -> str:
    """What is known of a document and its text on one line, cut to so many characters; with the id if negative."""
    if form < 0:
        return f"({shown_id(document.id)}) {document_line(document, -form)}"
    return cut(clean(document.head + document.text), form)


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
