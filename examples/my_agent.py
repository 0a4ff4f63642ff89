"""A custom agent: searches for the question once, then lets the model write every turn.

profilegym check agent examples/my_agent.py:LooksFirst
"""

from profilegym import BaseAgent, Episode, ModelHandle, Turn
from profilegym.agents.turn_format import search_for


class LooksFirst(BaseAgent):
    """Inherits from BaseAgent whose posts are searched, and how an episode begins."""

    name = "looks-first"

    async def act(self, episode: Episode, model: ModelHandle) -> Turn:
        if episode.turn == 0 and episode.searches_left:
            return Turn(search_for(episode.question.search_text, "I look first.", episode.protocol))
        return await model.turn()
