"""LaMP-QA's PlanPers: plans what a good answer covers, searches for each aspect, then answers."""

import re

from .._util.prompts import fill
from ..envs.episode import Episode
from ..envs.text import after_thinking, clean, clean_lines
from .agent import BaseAgent, ModelHandle
from .models.model import Turn
from .prompts import FOLDER
from .turn_format import search_for

_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])?\s*")
COVER = "A good answer covers:"


class Plan(BaseAgent):
    """The model plans and answers; each line of its plan is a query."""

    name = "plan"

    async def act(self, episode: Episode, model: ModelHandle) -> Turn:
        turns = sum(segment.author == "policy" for segment in episode.segments)
        aspects = _recorded_plan(episode) if turns else await self._plan(episode, model)
        if turns < min(len(aspects), episode.max_searches):
            thought = "\n".join([COVER, *aspects]) if not turns else f"Next: {aspects[turns]}"
            return Turn(search_for(aspects[turns], thought, episode.protocol))
        return await model.turn()

    async def _plan(self, episode: Episode, model: ModelHandle) -> list[str]:
        """The aspects to search for; the question itself if the model names none."""
        question = episode.question
        turn = await model.side_query(fill("plan", FOLDER, question=clean_lines(question.text)))
        lines = [clean(_BULLET.sub("", line)) for line in after_thinking(turn.text).splitlines()]
        return [line for line in lines if line][: episode.max_searches] or [clean(question.search_text)]


def _recorded_plan(episode: Episode) -> list[str]:
    """The plan as the first turn lists it."""
    first = next(segment.text for segment in episode.segments if segment.author == "policy")
    _, _, after = first.partition(COVER)
    thought = after.partition("</think>" if episode.protocol == "tags" else "<tool_call>")[0]
    return [line for line in thought.splitlines() if line.strip()]
