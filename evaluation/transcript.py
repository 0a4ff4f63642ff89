"""One episode as HTML."""

from collections.abc import Iterator

from ..envs.data.leaks import evidence_of
from ..envs.question import Question
from ..envs.reward import Verdict
from ..envs.trajectory import Search, Trajectory
from .conversation import places_around
from .page import Child, Markup, details, join, table, tag
from .summary import score_of


def episode(trajectory: Trajectory, question: Question, baseline: Trajectory | None, gain: float) -> Markup:
    """A folded episode; its heading shows gain and question."""
    heading = join(_signed(gain), " ", question.text)
    return details(heading, *parts(trajectory, question, baseline))


def parts(trajectory: Trajectory, question: Question, baseline: Trajectory | None = None) -> Iterator[Child]:
    """Its turns, its answer with the verdict, and the baseline's answer."""
    yield tag("p", tag("small", f"{trajectory.id}, ended: {trajectory.ended}"))
    yield from _turns(trajectory, question)
    yield tag("h3", f"Answer, {_score(trajectory)}")
    yield _said(trajectory.answer)
    if trajectory.cites:
        yield tag("p", tag("small", "cites ", ", ".join(trajectory.cites)))
    if trajectory.verdict is not None:
        yield _verdict(trajectory.verdict)
    if baseline is not None:
        yield tag("h3", f"Answer without the profile, {_score(baseline)}")
        yield _said(baseline.answer)


def _turns(trajectory: Trajectory, question: Question) -> Iterator[Child]:
    """The policy's text and each search's hits; other text of the environment is left out."""
    searches: dict[int, list[Search]] = {}
    for search in trajectory.searches:  # a turn may have several calls
        searches.setdefault(search.turn, []).append(search)
    written = [segment.text for segment in trajectory.segments if segment.author == "policy"]
    for turn in range(min(searches, default=0), len(written)):
        if turn >= 0:
            yield tag("h3", f"Turn {turn + 1}")
            yield _said(written[turn])
        for search in searches.get(turn, ()):
            yield _hits(search, question)


def _hits(search: Search, question: Question) -> Markup:
    """Another user's documents are no evidence, whatever their ids."""
    evidence = evidence_of(question) if question.profile.user_id == question.user_id else set()
    shown = [_hit(document, score, question, document in evidence) for document, score in search.hits]
    nothing = ": a text was returned." if search.returned_text else ": nothing was found."
    asked = tag("p", "Searched for ", tag("q", search.query, class_="quoted"), ": " if shown else nothing)
    return join(asked, tag("ol", *shown, class_="said") if shown else None)


def _hit(document: str, score: float | None, question: Question, is_evidence: bool) -> Markup:
    found = question.profile.by_id.get(document)
    scored = [] if score is None else [f"score {score:.3g}"]
    marks = [*scored, *(["evidence"] if is_evidence else [])]
    text = found.head + found.text if found else "This document is no longer in the data."
    source = tag("small", ", ".join([document, *marks]))
    near = _conversation(question, document) if found and found.session else None
    return tag("li", text, " ", source, near, class_="evidence" if is_evidence else None)


def _conversation(question: Question, document: str) -> Markup:
    """What was said before and after it."""
    turns = [question.profile.documents[place] for place in places_around(question.profile, document)]
    said = [tag("p", tag("b", turn.id), " ", turn.head, turn.text) for turn in turns]
    return details("In its conversation", *said)


def _verdict(verdict: Verdict) -> Markup:
    rows: list[list[Child]] = [[aspect.title, f"{aspect.match} of 2", aspect.reason] for aspect in verdict.aspects]
    return table(["aspect", "match", "reason"], rows, f"by the judge {verdict.judge}", class_="worded")


def _said(text: str | None) -> Markup:
    return tag("p", "no answer", class_="note") if text is None else tag("div", text or " ", class_="said")


def _score(trajectory: Trajectory) -> str:
    score = score_of(trajectory)
    return "unscored" if score is None else f"score {score:.3f}"


def _signed(gain: float) -> Markup:
    return tag("b", f"{gain:+.3f}", class_="good" if gain > 0 else "bad")
