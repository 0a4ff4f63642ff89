"""search_profile: search the profile with the run's retriever, optionally by time and speaker."""

from datetime import date
from typing import Annotated

from ...errors import BadArgument
from ..question import Document, Profile
from .results import MOST_SHOWN
from .tool import SearchRequest, as_tool


@as_tool({"after": "date", "before": "date", "speaker": "speaker"}, runs_inline=True)
def search_profile(
    profile: Profile,
    query: Annotated[str, "Words to look for; not empty."],
    after: Annotated[date | None, "Only posts from this day on."] = None,
    before: Annotated[date | None, "Only posts from before this day."] = None,
    speaker: Annotated[str | None, "Only what this person said or wrote."] = None,
    k: Annotated[int | None, "How many posts.", range(1, MOST_SHOWN + 1)] = None,
) -> SearchRequest:
    """Search the past posts of the person who asks."""
    query = query.strip()
    if not query:
        raise BadArgument("The search query is empty: say what to look for.")
    if after is None and before is None and speaker is None:
        return SearchRequest(query, k)
    start = None if after is None else after.isoformat()
    end = None if before is None else before.isoformat()
    name = speaker and speaker.strip().casefold()

    def keep(document: Document) -> bool:
        if name and (document.speaker or "").casefold() != name:
            return False
        day = document.date or ""
        return (start is None or day >= start) and (end is None or (bool(day) and day < end))

    return SearchRequest(query, k, keep)
