"""A person at the terminal, in the policy's place."""

import asyncio

from ..envs.episode import Episode
from ..envs.errors import ModelError
from ..envs.visible import visible
from .agent import Speaker
from .models.model import Turn
from .pr2 import PR2
from .writing import answer_with, search_for

_HELP = "Type what to look for, or = and your answer."


class Human(PR2):
    """Shows what the policy would see and asks for a line."""

    name = "human"

    at_once = 1

    async def act(self, episode: Episode, speaker: Speaker) -> Turn:
        return Turn(_written(await asyncio.to_thread(_ask, episode.observation), episode))


def _ask(observation: str) -> str:
    print(visible(observation))  # noqa: T201 (a person reads it)
    try:
        return input(f"{_HELP}\n> ")
    except EOFError:
        raise ModelError("nobody is at the terminal: standard input is closed") from None


def _written(line: str, episode: Episode) -> str:
    if line.startswith("="):
        return answer_with(line[1:], "As I see it.", episode.protocol)
    return search_for(line, "Let me look.", episode.protocol)
