"""Which words of a post match a query, by the terms that bm25 compares."""

from ...envs.retrieval.analyzer import analyze, analyze_with_spans

Span = tuple[int, int]


def matches(query: str, text: str) -> tuple[Span, ...]:
    """Where the words of the text stand whose terms the query has too."""
    wanted = set(analyze(query))
    return tuple((start, end) for term, start, end in analyze_with_spans(text) if term in wanted)
