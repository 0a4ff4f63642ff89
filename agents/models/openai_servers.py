"""Several endpoints of one model: each conversation asks one of them, by load."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ...envs.action import TOOLS
from ...envs.chat import Sampling
from ...envs.question import Question
from ...envs.trajectory import Segment
from ...errors import BudgetSpent, EndpointError, ModelError
from .endpoint import Endpoint
from .model import Turn
from .openai_policy import ServedModel
from .servers import Server, Spread

ATTEMPTS = 6  # endpoints that a turn is asked of before it fails
OF_THE_REQUEST = (400, 413, 422)  # HTTP status of what would be refused elsewhere, too
_PROBE = 10.0  # seconds


class SpreadModel:
    """Writes turns by several endpoints of the same model. One that fails is left out, and asked again."""

    def __init__(self, models: Sequence[ServedModel]) -> None:
        self.name = models[0].name
        self.spread = Spread(
            [Server(model.endpoint.url, model.endpoint, partial(_ask, model), model) for model in models]
        )
        for model in models:
            model.endpoint.share_limits(models[0].endpoint)
            model.endpoint.only_busy = True  # another endpoint may answer instead

    def open(self, question: Question, seed: int | None) -> "SpreadSession":
        return SpreadSession(self.spread, question, seed)

    async def close(self) -> None:
        await self.spread.close()


class SpreadSession:
    """One conversation. It stays with its endpoint, which may have its prefix in a cache."""

    def __init__(self, spread: Spread[ServedModel], question: Question, seed: int | None) -> None:
        self._spread, self._question, self._seed = spread, question, seed
        self._server: Server[ServedModel] | None = None
        self.tools: Sequence[Mapping[str, Any]] = TOOLS

    async def generate(self, segments: Sequence[Segment], sampling: Sampling, stop: Sequence[str]) -> Turn:
        refusing = set[str]()
        for _ in range(ATTEMPTS):
            self._server, model = await self._spread.choose(segments[0].text, self._server)
            session = model.open(self._question, self._seed)
            session.tools = self.tools
            try:
                with self._server.asked():
                    return await session.generate(segments, sampling, stop)
            except BudgetSpent:
                raise
            except EndpointError as error:
                refusing |= {self._server.url} if error.status is not None else set()
                if error.status in OF_THE_REQUEST or len(refusing) == len(self._spread.all):
                    raise
                self._spread.failed(self._server, error)
                problem = error
        raise ModelError(f"no turn after {ATTEMPTS} tries: {problem}") from problem

    def close(self) -> None:
        """Nothing to release."""


async def _ask(model: ServedModel) -> ServedModel:
    """Any answer will do: not every server lists its models."""
    endpoint: Endpoint = model.endpoint
    try:
        await endpoint.get("/models", _PROBE)
    except EndpointError as error:
        if error.status is None:
            raise
    return model
