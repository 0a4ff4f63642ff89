"""read_around: a post, and those before and after it."""

from typing import Annotated

from ...errors import BadArgument
from ..question import Document, Profile
from ..text import shown_id
from .tool import as_tool


@as_tool(runs_inline=True)
def read_around(
    profile: Profile,
    id: Annotated[str, "The id of the post, as shown in brackets."],  # noqa: A002 (the argument's name)
    before: Annotated[int, "How many posts before it.", range(10)] = 1,
    after: Annotated[int, "How many posts after it.", range(10)] = 1,
) -> list[Document]:
    """Read a post together with those just before and after it; in a conversation, those of the same session."""
    position = profile.positions_by_shown_id.get(shown_id(id))
    if position is None:
        raise BadArgument("There is no post with this id: give one that was shown in brackets.")
    documents = profile.documents
    around = documents[max(0, position - before) : position + after + 1]
    return [document for document in around if document.session == documents[position].session]
