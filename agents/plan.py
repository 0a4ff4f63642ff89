"""LaMP-QA's PlanPers form: first what a good answer has to cover, then a search for each of it, then the answer."""

import re

from .._util.prompts import fill
from ..envs.episode import Episode
from ..envs.text import clean, clean_lines
from .agent import ModelHandle
from .models.model import Turn
from .pr2 import PR2
from .prompts import FOLDER
from .turn_format import search_for

_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])?\s*")
COVER = "A good answer covers:"


class Plan(PR2):
    """The model plans and answers; the searches between follow from its plan."""

    name = "plan"

    async def act(self, episode: Episode, speaker: ModelHandle) -> Turn:
        made = sum(segment.author == "policy" for segment in episode.segments)
        aspects = _read(episode) if made else await self._plan(episode, speaker)
        if made < min(len(aspects), episode.max_searches):
            thought = "\n".join([COVER, *aspects]) if not made else f"Next: {aspects[made]}"
            return Turn(search_for(aspects[made], thought, episode.protocol))
        return await speaker.turn()

    async def _plan(self, episode: Episode, speaker: ModelHandle) -> list[str]:
        """The question itself where the model names nothing."""
        question = episode.question
        turn = await speaker.side_query(fill("plan", FOLDER, question=clean_lines(question.text)))
        lines = [clean(_BULLET.sub("", line)) for line in turn.text.splitlines()]
        return [line for line in lines if line][: episode.max_searches] or [clean(question.search_text)]


def _read(episode: Episode) -> list[str]:
    """The plan as the first turn wrote it down."""
    first = next(segment.text for segment in episode.segments if segment.author == "policy")
    _, _, after = first.partition(COVER)
    thought = after.partition("</think>" if episode.protocol == "tags" else "<tool_call>")[0]
    return [line for line in thought.splitlines() if line.strip()]
