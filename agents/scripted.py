"""An agent that follows a script and ignores its model: `scripted:oracle`."""

from ..envs.episode import Episode
from .agent import BaseAgent, ModelHandle
from .models.model import Turn, stops_of
from .models.scripted import make


class Scripted(BaseAgent):
    """Plays the script of that name."""

    def __init__(self, name: str) -> None:
        self.name = f"scripted:{name}"
        self._model = make(name)

    async def act(self, episode: Episode, model: ModelHandle) -> Turn:
        session = self._model.open(episode.question, episode.seed)
        return await session.generate(episode.segments, model.sampling, stops_of(episode))
