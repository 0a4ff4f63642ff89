"""A person at the terminal, in the policy's place."""

import asyncio
import re
import threading

from .._util.terminal import printable
from ..envs.episode import Episode
from ..envs.text import clean_lines
from ..errors import ModelError
from .agent import ModelHandle
from .models.model import Turn
from .pr2 import PR2
from .turn_format import answer_with, search_for

_POSTS = re.compile(r"<information>\n(.*)\n</information>", re.DOTALL)


class Human(PR2):
    """Shows a person what a policy is told, and takes a line: what to look for, or = and the answer."""

    name = "human"

    max_concurrency = 1

    async def act(self, episode: Episode, speaker: ModelHandle) -> Turn:
        print(f"\n{printable(_told(episode))}\n")  # noqa: T201 (a person reads it)
        line = ""
        while not line:
            line = (await _line("> ")).strip()
        if episode.searches_left == 0 or line.startswith("="):
            return Turn(answer_with(line.removeprefix("=").strip(), "As I see it.", episode.protocol))
        return Turn(search_for(line, "Let me look.", episode.protocol))


def _told(episode: Episode) -> str:
    """Without the rules and the tags, which are for language models."""
    first = not any(segment.author == "policy" for segment in episode.segments)
    question = [f"Question: {clean_lines(episode.question.text)}"] if first else []
    posts = _POSTS.search(episode.observation)
    told = [posts[1]] if posts else []
    return "\n\n".join([*question, *told, _may_do(episode.searches_left)]).replace("&lt;", "<")


def _may_do(searches_left: int) -> str:
    if searches_left == 0:
        return "There is nothing more to search. Your answer?"
    left = "1 search" if searches_left == 1 else f"{searches_left} searches"
    return f"{left} left. What would you look for in the person's posts? To answer, begin with ="


async def _line(prompt: str) -> str:
    """Read in a thread that nobody waits for: after Ctrl-C no line comes."""
    loop = asyncio.get_running_loop()
    read: asyncio.Future[str] = loop.create_future()

    def ask() -> None:
        try:
            loop.call_soon_threadsafe(_give, read, input(prompt))
        except EOFError:
            loop.call_soon_threadsafe(_give, read, ModelError("nobody is at the terminal: standard input is closed"))

    threading.Thread(target=ask, daemon=True).start()
    return await read


def _give(read: "asyncio.Future[str]", found: str | ModelError) -> None:
    if read.done():  # whoever asked has given up
        return
    if isinstance(found, str):
        read.set_result(found)
    else:
        read.set_exception(found)
