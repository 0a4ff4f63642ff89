"""The policy that can be asked for a turn: an agent, and its model, which is loaded when it first has to speak."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ...agents.agent import Agent, ModelHandle
from ...agents.models.model import Model, Session, Turn, make_model
from ...agents.rollout import DEFAULT_SAMPLING
from ...envs.chat import Sampling
from ...envs.episode import Episode
from ...envs.question import Question
from ...envs.trajectory import Segment
from ...errors import ModelError, ProfileGymError


@dataclass(frozen=True, slots=True)
class Policy:
    """Who is asked, and how its turns are drawn."""

    agent: Agent
    model: Model
    sampling: Sampling = DEFAULT_SAMPLING

    async def turn(self, episode: Episode) -> Turn:
        """Its next turn in an episode, which stays as it is. Raises `ModelError` when none can be had."""
        handle = ModelHandle(self.model, episode, self.sampling)
        try:
            return await self.agent.act(episode, handle)
        except ProfileGymError:
            raise
        except Exception as error:
            raise ModelError(f"{self.model.name} failed: {type(error).__name__}: {error}") from error
        finally:
            handle.close()


class LateModel:
    """A model that nobody waits for until it is asked; a loading that failed is tried again by whoever asks next."""

    def __init__(self, spec: str) -> None:
        self.name = spec
        self._loading: asyncio.Future[Model] | None = None

    def open(self, question: Question, seed: int | None) -> "LateSession":
        return LateSession(self, question, seed)

    async def close(self) -> None:
        if self._loading is not None and self._loading.done() and not self._loading.exception():
            await self._loading.result().close()

    async def loaded(self) -> Model:
        """Loaded in a thread, as a screen goes on meanwhile, and to its end, as who asked may no longer wait."""
        if self._loading is None or (self._loading.done() and self._loading.exception()):
            self._loading = asyncio.ensure_future(asyncio.to_thread(_made, self.name))
        model = await asyncio.shield(self._loading)
        self.name = model.name
        return model


class LateSession:
    """A conversation that begins when the model first has to speak."""

    def __init__(self, model: LateModel, question: Question, seed: int | None) -> None:
        self._model, self._question, self._seed = model, question, seed
        self._session: Session | None = None

    async def generate(self, said: Sequence[Segment], sampling: Sampling, stop: Sequence[str]) -> Turn:
        if self._session is None:
            self._session = (await self._model.loaded()).open(self._question, self._seed)
        return await self._session.generate(said, sampling, stop)

    def close(self) -> None:
        if self._session is not None:
            self._session.close()


def _made(spec: str) -> Model:
    try:
        model: Model = make_model(spec)
    except ProfileGymError:
        raise
    except Exception as error:
        raise ModelError(f"model {spec!r} could not be loaded: {type(error).__name__}: {error}") from error
    return model
