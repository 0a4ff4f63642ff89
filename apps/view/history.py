"""A long history on a page: by session, with a filter, or a few posts around one."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from ...envs.question import Document, Profile
from ...evaluation.conversation import places_around


@dataclass(frozen=True, slots=True)
class Post:
    """A document with its number in the profile; `hidden` by the filter; `chosen` if the others surround it."""

    number: int
    document: Document
    hidden: bool = False
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """Consecutive posts of one session. `date` is known if all have the same."""

    name: str | None
    date: str | None
    posts: Sequence[Post]

    @property
    def hidden(self) -> bool:
        return all(post.hidden for post in self.posts)


def filtered(
    profile: Profile, words: str, shown: Container[str], evidence: Mapping[str, Sequence[str]]
) -> list[Session]:
    """Hides posts without all of the words; those shown and those with evidence also have these two words."""
    wanted = words.casefold().split()

    def lacks(document: Document) -> bool:
        labels = [*["shown"] * (document.id in shown), *["evidence for:"] * (document.id in evidence)]
        text = " ".join([document.id, document.head, document.text, *labels]).casefold()
        return not all(word in text for word in wanted)

    posts = [Post(number, document, lacks(document)) for number, document in enumerate(profile.documents, 1)]
    return list(_sessions(posts))


def around(profile: Profile, document_id: str) -> list[Session]:
    """The post, with its neighbours in its session."""
    near = [(place + 1, profile.documents[place]) for place in places_around(profile, document_id)]
    return list(_sessions([Post(number, document, chosen=document.id == document_id) for number, document in near]))


def _sessions(posts: Sequence[Post]) -> Iterator[Session]:
    for name, of in groupby(posts, lambda post: post.document.session):
        together = list(of)
        dates = {post.document.date for post in together}
        yield Session(name, dates.pop() if name and len(dates) == 1 else None, together)
