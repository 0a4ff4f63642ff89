"""The policy of a game: an agent, and a model that is loaded on first use."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ..._util.keys import hidden
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
    """An agent, its model, and its sampling settings."""

    agent: Agent
    model: Model
    sampling: Sampling = DEFAULT_SAMPLING

    async def turn(self, episode: Episode) -> Turn:
        """Its next turn in an episode, which it does not change. Raises `ModelError`."""
        handle = ModelHandle(self.model, episode, self.sampling)
        try:
            return await self.agent.act(episode, handle)
        except ProfileGymError:
            raise
        except Exception as error:
            raise ModelError(f"{self.model.name} failed: {type(error).__name__}: {error}") from error
        finally:
            handle.close()


class LazyModel:
    """A model that is loaded on first use. After a failure the next use loads it again."""

    def __init__(self, spec: str) -> None:
        self.name, self._spec = hidden(spec), spec
        self._loading: asyncio.Future[Model] | None = None

    def open(self, question: Question, seed: int | None) -> "LazySession":
        return LazySession(self, question, seed)

    async def close(self) -> None:
        if self._loading is not None and self._loading.done() and not self._loading.exception():
            await self._loading.result().close()

    async def loaded(self) -> Model:
        """The model, loaded in a thread. Loading goes on if the caller is cancelled."""
        if self._loading is None or (self._loading.done() and self._loading.exception()):
            self._loading = asyncio.ensure_future(asyncio.to_thread(_load_model, self._spec))
        model = await asyncio.shield(self._loading)
        self.name = model.name
        return model


class LazySession:
    """A session that is opened at the first generation."""

    def __init__(self, model: LazyModel, question: Question, seed: int | None) -> None:
        self._model, self._question, self._seed = model, question, seed
        self._session: Session | None = None

    async def generate(self, said: Sequence[Segment], sampling: Sampling, stop: Sequence[str]) -> Turn:
        if self._session is None:
            self._session = (await self._model.loaded()).open(self._question, self._seed)
        return await self._session.generate(said, sampling, stop)

    def close(self) -> None:
        if self._session is not None:
            self._session.close()


def _load_model(spec: str) -> Model:
    try:
        model: Model = make_model(spec)
    except ProfileGymError:
        raise
    except Exception as error:
        raise ModelError(f"model {hidden(spec)!r} could not be loaded: {type(error).__name__}: {error}") from error
    return model
