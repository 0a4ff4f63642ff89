"""answer: gives the answer and ends the episode. Every set of tools has it."""

from typing import Annotated

from ..question import Profile
from .tool import Tool, as_tool


@as_tool(runs_inline=True)
def answer(profile: Profile, text: Annotated[str, "The answer to the person."]) -> str:
    """Answer the person's question. This ends the conversation."""
    return text.strip()


def _answer_with_cites(
    profile: Profile,
    text: Annotated[str, "The answer to the person."],
    cites: Annotated[list[str] | None, "The ids of the posts that the answer rests on."] = None,
) -> str:
    """Answer, and name documents."""
    return text.strip()


_citing = Tool.of(_answer_with_cites)
ANSWER_WITH_CITES = Tool(answer.name, answer.description, _citing.arguments, _citing.function, runs_inline=True)
