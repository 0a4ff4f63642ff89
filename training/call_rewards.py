"""Rewards that arrive at a call: for new evidence, for a repeat, and for a call that found nothing of use."""

from typing import Annotated

from pydantic import Field

from ..envs.data.leaks import evidence_of
from ..envs.episode import INITIAL_SEARCH_TURN
from ..envs.question import Question
from ..envs.trajectory import Trajectory
from .settings import SettingsModel

Amount = Annotated[float, Field(ge=0)]


class TurnRewards(SettingsModel):
    """`new` is for all of a question's evidence, and in proportion for a part; the others are taken off."""

    new: Amount = 1.0
    repeat: Amount = 0.1  # a call that shows nothing new
    useless: Amount = 0.05  # a call that shows new documents, none of them evidence


def call_rewards(trajectory: Trajectory, question: Question, amounts: TurnRewards) -> list[float] | None:
    """One value per turn; 0 for a turn without a call. None where the evidence is unknown, or the episode failed.

    A call that returned a text has 0, as nobody knows whether the text is evidence. Where the history is not needed, no
    document is evidence, so every call is useless or a repeat. `question` has the profile that was searched; another
    user's documents are no evidence.
    """
    wanted = evidence_of(question)
    if trajectory.ended == "error" or not (wanted or question.rubric.history == "unneeded"):
        return None
    own = question.profile.user_id == question.user_id
    turns = sum(segment.author == "policy" for segment in trajectory.segments)
    rewards, seen = [0.0] * turns, set[str]()
    for search in trajectory.searches:
        new = {document for document, _ in search.hits} - seen
        seen |= new
        if search.turn != INITIAL_SEARCH_TURN and not search.returned_text:
            found = len(new & wanted) / len(wanted) if own and wanted else 0.0
            rewards[search.turn] += amounts.new * found if found else -(amounts.useless if new else amounts.repeat)
    return rewards
