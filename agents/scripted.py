"""An agent that follows a script, whatever model it is given: `scripted:oracle`."""

from ..envs.episode import Episode
from .agent import ModelHandle
from .models.model import STOPS, Turn
from .models.scripted import make
from .pr2 import PR2


class Scripted(PR2):
    """Plays by the script of that name."""

    def __init__(self, name: str) -> None:
        self.name = f"scripted:{name}"
        self._model = make(name)

    async def act(self, episode: Episode, speaker: ModelHandle) -> Turn:
        session = self._model.open(episode.question, episode.seed)
        return await session.generate(episode.segments, speaker.sampling, STOPS[episode.protocol])
