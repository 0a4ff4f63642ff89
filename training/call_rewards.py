"""Rewards that arrive at a call: for new evidence, for a repeat, and for a call that found nothing of use."""

from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field

from ..envs.data.leaks import evidence_of
from ..envs.episode import INITIAL_SEARCH_TURN, NOTHING_FOUND
from ..envs.question import Question
from ..envs.trajectory import Search, Segment, Trajectory
from .settings import SettingsModel

Amount = Annotated[float, Field(ge=0)]


class TurnRewards(SettingsModel):
    """`new` is for all of a question's evidence, and in proportion for a part; the others are taken off."""

    new: Amount = 1.0
    repeat: Amount = 0.1  # a call that shows nothing new
    useless: Amount = 0.05  # a call that shows new documents, none of them evidence


def call_rewards(trajectory: Trajectory, question: Question, amounts: TurnRewards) -> list[float] | None:
    """One value per turn; 0 for a turn without a call. None where the evidence is unknown, or the episode failed.

    Where the history is not needed, no document is evidence, so every call is useless or a repeat. `question` has the
    profile that was searched; another user's documents are no evidence.
    """
    wanted = evidence_of(question)
    if trajectory.ended == "error" or not (wanted or question.rubric.history == "unneeded"):
        return None
    own = question.profile.user_id == question.user_id
    results = _results(trajectory.segments)
    rewards, seen = [0.0] * len(results), set[str]()
    for search in trajectory.searches:
        new = {document for document, _ in search.hits} - seen
        seen |= new
        if search.turn != INITIAL_SEARCH_TURN:
            found = len(new & wanted) / len(wanted) if own and wanted else 0.0
            rewards[search.turn] += _reward(search, found, bool(new), next(results[search.turn], ""), amounts)
    return rewards


def _reward(search: Search, found: float, is_new: bool, result: str, amounts: TurnRewards) -> float:
    if found:
        return amounts.new * found
    if is_new:
        return -amounts.useless
    if not search.hits and NOTHING_FOUND not in result:
        return 0.0  # a tool's text, of which nobody knows whether it is evidence
    return -amounts.repeat


def _results(segments: Sequence[Segment]) -> list[Iterator[str]]:
    """By turn of the policy: what its calls returned, one after the other."""
    results: list[list[str]] = []
    for segment in segments:
        if segment.author == "policy":
            results.append([])
        elif results and "<information>" in segment.text:
            results[-1].append(segment.text)
    return [iter(texts) for texts in results]
