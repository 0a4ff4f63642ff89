"""The retriever interface, and the registry of retrievers."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from ..._util.registry import Registry, split_options
from ...errors import OptionError
from ..question import Document, Profile


class Hit(NamedTuple):
    """A document and its score; higher is better."""

    document: Document
    score: float


class Retriever(Protocol):
    """Ranks the documents of one profile for a query.

    `search` returns at most `k` hits, best first, each a different document of the given profile. Equal scores are
    ordered by document id as a string, as in Lucene. The same profile, query and k give the same hits. An empty query
    or profile gives no hits. Any string is a valid query. `search_many` returns the same lists as `search` for each
    request, in one call that may be batched.
    """

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]: ...

    def search_many(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[list[Hit]]: ...


class BaseRetriever:
    """Base class for retrievers without batched search: `search_many` calls `search` for each request."""

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        raise NotImplementedError(f"{type(self).__name__} must define search(profile, query, k)")

    def search_many(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[list[Hit]]:
        return [self.search(profile, query, k) for profile, query in requests]


def searchable_text(document: Document) -> str:
    """The text that retrievers search: speaker, title and text."""
    text = f"{document.title} {document.text}" if document.title else document.text
    return f"{document.speaker} {text}" if document.speaker else text


def check_k(k: int) -> None:
    if k < 1:
        raise OptionError(f"k={k}: a search returns at least one document, so give k >= 1")


_NEIGHBOURS = re.compile(r"(?:context|dates|window)=")

RETRIEVERS = Registry(
    "retriever",
    {
        "bm25": "profilegym.envs.retrieval.bm25:BM25",
        "dense": "profilegym.envs.retrieval.dense:Dense",
        "hybrid": "profilegym.envs.retrieval.hybrid:Hybrid",
        "features": "profilegym.agents.rpm.store:FeatureRetriever",
        "http": "profilegym.envs.retrieval.http:Http",
        "https": "profilegym.envs.retrieval.http:https",
        "pyserini": "profilegym.envs.retrieval.pyserini:Pyserini",
        "random": "profilegym.envs.retrieval.random:Random",
        "rerank": "profilegym.envs.retrieval.rerank:Rerank",
        "recency": "profilegym.envs.retrieval.recency:Recency",
    },
    ("search", "search_many"),
)


def make_retriever(spec: "str | Retriever") -> Retriever:
    """The retriever that a spec names: `bm25`, `dense:MODEL`, `hybrid:bm25+dense`, `http:URL`, `module:factory` …

    `context=N`, `dates=true` and `window=N` are options of every spec.
    """
    if not isinstance(spec, str):
        return spec
    plain, options = _without_neighbours(spec)
    retriever: Retriever = RETRIEVERS.make(plain)
    if not options:
        return retriever
    from .neighbours import with_neighbours  # it builds on this module

    return with_neighbours(retriever, **split_options(options)[1])


def _without_neighbours(spec: str) -> tuple[str, str]:
    """`"dense:MODEL,window=1"` -> `("dense:MODEL", "window=1")`."""
    name, colon, rest = spec.partition(":")
    pieces = rest.split(",")
    options = [piece for piece in pieces if _NEIGHBOURS.match(piece)]
    others = ",".join(piece for piece in pieces if piece not in options)
    return (f"{name}{colon}{others}" if others else name, ",".join(options)) if options else (spec, "")


def register_retriever(name: str, factory: Callable[..., Retriever]) -> None:
    """Make `factory` available as `--retriever name` and `make_retriever("name")`."""
    RETRIEVERS.register(name, factory)
