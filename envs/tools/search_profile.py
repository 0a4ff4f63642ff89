"""search_profile: search the profile with the run's retriever, optionally by time and speaker."""

from datetime import date
from typing import Annotated

from ...errors import BadArgument
from ..dates import may_be_before, may_be_since
from ..question import Document, Profile
from ..text import clean
from .results import MOST_SHOWN
from .speakers import shown_name, speakers_text
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
    name = _known(speaker, profile) if speaker and speaker.strip() else None

    def keep(document: Document) -> bool:
        if name is not None and clean(document.speaker or "").casefold() != name:
            return False
        since = start is None or may_be_since(document.date, start)
        return since and (end is None or may_be_before(document.date, end))

    return SearchRequest(query, k, keep)


def _known(speaker: str, profile: Profile) -> str:
    """The name, caseless, of a speaker of the profile; it may be given as prompts show it."""
    wanted = clean(speaker).casefold()
    for name in profile.speakers:
        if wanted in (name.casefold(), shown_name(name).casefold()):
            return name.casefold()
    raise BadArgument(f"Nobody of that name speaks in these posts. {speakers_text(profile.speakers)}".rstrip())
