"""An agent of your own: it searches for the question once, whatever the model would do, and leaves the rest to it.

profilegym check agent examples/my_agent.py:LooksFirst
"""

from profilegym import Episode, ModelHandle, Turn
from profilegym.agents.pr2 import PR2
from profilegym.agents.turn_format import search_for


class LooksFirst(PR2):
    """Inherits from PR2 whose posts are searched, and how an episode begins."""

    name = "looks-first"

    async def act(self, episode: Episode, speaker: ModelHandle) -> Turn:
        if episode.turn == 0 and episode.searches_left:
            return Turn(search_for(episode.question.search_text, "I look first.", episode.protocol))
        return await speaker.turn()
