"""latest: the newest posts of the profile."""

from datetime import date
from typing import Annotated

from ..dates import may_be_before
from ..question import Document, Profile
from .results import MOST_SHOWN
from .tool import as_tool


@as_tool({"before": "date"}, runs_inline=True)
def latest(
    profile: Profile,
    n: Annotated[int, "How many posts.", range(1, MOST_SHOWN + 1)] = 3,
    before: Annotated[date | None, "Only posts from before this day."] = None,
) -> list[Document]:
    """Read the newest posts of the person who asks, the newest first."""
    documents = profile.documents
    if before is not None:
        end = before.isoformat()
        documents = tuple(document for document in documents if may_be_before(document.date, end))
    return list(documents[: -n - 1 : -1])
