"""A profile as what a person met and how they responded."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ...envs.question import Document, Profile
from ...envs.text import clean

# How the readers of LaMP's files write down a response that is a choice.
_CHOICE = re.compile(r"(.*)\n(?:Tag: (.+)|Rating: (.+) of 5)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Past:
    """A document's text, and the response where the document has one: both as data, fit for prompts and files."""

    document: str
    text: str
    response: str | None
    is_choice: bool = False


def history(profile: Profile) -> list[Past]:
    return [_past(document) for document in profile.documents]


def has_choices(past: Sequence[Past]) -> bool:
    """Whether this person chooses among responses, rather than writing them."""
    return bool(past) and all(one.is_choice for one in past)


def _past(document: Document) -> Past:
    if found := _CHOICE.fullmatch(document.text):
        return Past(document.id, clean(found[1]), clean(found[2] or found[3]), is_choice=True)
    return Past(document.id, clean(document.text), clean(document.title) if document.title else None)
