"""What a retriever is, and where retrievers are found by name."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from ..._util.registry import Registry
from ...errors import OptionError
from ..question import Document, Profile


class Hit(NamedTuple):
    """A document found, and how well it matched; higher is better."""

    document: Document
    score: float


class Retriever(Protocol):
    """Ranks one profile's own documents for a query.

    `search` returns at most `k` hits, best first, each a document of the profile it was given, none twice. Equal scores
    come in the order of the documents' ids, compared as strings, as Lucene has them. The same profile, query and k give
    the same hits. An empty query or profile gives no hits. Any string is a valid query. `search_many` gives the same
    lists as `search` would, in one call that may be batched.
    """

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]: ...

    def search_many(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[list[Hit]]: ...


class BaseRetriever:
    """Inherit this when a batch is no cheaper than its parts: `search_many` calls `search`."""

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        raise NotImplementedError(f"{type(self).__name__} must define search(profile, query, k)")

    def search_many(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[list[Hit]]:
        return [self.search(profile, query, k) for profile, query in requests]


def check_k(k: int) -> None:
    if k < 1:
        raise OptionError(f"k is {k}; a search returns at least one document: ask for k >= 1")


RETRIEVERS = Registry(
    "retriever",
    {
        "bm25": "profilegym.envs.retrieval.bm25:BM25",
        "dense": "profilegym.envs.retrieval.dense:Dense",
        "hybrid": "profilegym.envs.retrieval.hybrid:Hybrid",
        "features": "profilegym.agents.rpm.retriever:Features",
        "http": "profilegym.envs.retrieval.http:Http",
        "https": "profilegym.envs.retrieval.http:https",
        "pyserini": "profilegym.envs.retrieval.pyserini:Pyserini",
        "random": "profilegym.envs.retrieval.random:Random",
        "recency": "profilegym.envs.retrieval.recency:Recency",
    },
)


def make_retriever(spec: "str | Retriever") -> Any:
    """The retriever that a spec names: `bm25`, `dense:MODEL`, `hybrid:bm25+dense`, `http:URL`, `module:factory` …"""
    return RETRIEVERS.make(spec) if isinstance(spec, str) else spec


def register_retriever(name: str, factory: Callable[..., Retriever]) -> None:
    """Make `factory` available as `--retriever name` and `make_retriever("name")`."""
    RETRIEVERS.register(name, factory)
