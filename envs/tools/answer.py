"""answer: gives the answer and ends the episode. Every set of tools has it."""

from typing import Annotated

from ..question import Profile
from .tool import as_tool


@as_tool(runs_inline=True)
def answer(profile: Profile, text: Annotated[str, "The answer to the person."]) -> str:
    """Answer the person's question. This ends the conversation."""
    return text.strip()
