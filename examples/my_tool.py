"""Tools of your own: typed functions whose first parameter is the profile.

profilegym check tool examples/my_tool.py:by_month
profilegym eval --tools search_profile+examples/my_tool.py:by_month+examples/my_tool.py:overview --out runs/tools
"""

from collections import Counter
from typing import Annotated

from profilegym import Document, Profile


def by_month(
    profile: Profile,
    month: Annotated[int, "The month, 1 for January.", range(1, 13)],
    year: Annotated[int | None, "The year; without it, any."] = None,
) -> list[Document]:
    """Read what the person wrote in one month."""
    return [document for document in profile.documents if _is_from(document, month, year)]


def overview(profile: Profile) -> str:
    """Count the person's posts by year."""
    years = Counter(document.date[:4] for document in profile.documents if document.date)
    return "\n".join(f"{year}: {count} posts" for year, count in sorted(years.items())) or "No post has a date."


def _is_from(document: Document, month: int, year: int | None) -> bool:
    found_year, _, rest = (document.date or "").partition("-")
    return rest[:2] == f"{month:02}" and (year is None or found_year == str(year))
