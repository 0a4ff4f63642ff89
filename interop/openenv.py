"""OpenEnv: the environment behind its server, for every trainer that takes one (TRL, verifiers, SkyRL, NeMo Gym …)."""

from collections.abc import Mapping
from functools import partial
from random import Random
from typing import Any

from .. import __version__
from ..envs.trajectory import Kind
from ..errors import EpisodeError, MissingExtra, OptionError
from .driver import Attempt, Driver, Outcome

try:
    from openenv.core.env_server import Action, ConcurrencyConfig, Environment, Observation, State, create_app
    from openenv.core.env_server.types import EnvironmentMetadata
except ImportError as error:
    raise MissingExtra("the server of OpenEnv", "openenv") from error

_ABOUT = "Answer a person's question by searching that person's own past posts."


class ProfileAction(Action):
    """A turn of the policy as text, tags included. With one required field, bridges pass a model's text as it is."""

    message: str


class ProfileObservation(Observation):
    """What the policy reads next. At the end, `reward` is None where `metadata["unscored"]` says why."""

    text: str


class ProfileEnvironment(Environment[ProfileAction, ProfileObservation, State]):
    """One session. `reset(question_id=…)`, `reset(split=…, index=…)`, or a question drawn by the seed."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, drivers: Mapping[str, Driver]) -> None:
        super().__init__()
        self._drivers, self._state = drivers, State()
        self._attempt: Attempt | None = None

    def reset(
        self,
        seed: int | None = None,
        episode_id: str | None = None,
        question_id: str | None = None,
        split: str | None = None,
        index: int | None = None,
        kind: Kind = "personalised",
    ) -> ProfileObservation:
        """`kind="baseline"` is the control: no searches and no profile."""
        ids = self._driver(split).questions.ids
        if index is not None and not 0 <= index < len(ids):
            raise OptionError(f"index={index}: there are {len(ids)} questions, from 0 on")
        question_id = question_id or (Random(seed).choice(ids) if index is None else ids[index])
        self._attempt = self._driver(split).attempt(question_id, kind, episode_id)
        self._state = State(episode_id=episode_id)
        return ProfileObservation(text=self._attempt.prompt, metadata={"question_id": question_id})

    def step(self, action: ProfileAction, timeout_s: float | None = None) -> ProfileObservation:
        attempt = self._playing()
        text = attempt.write(action.message)
        return _shown(text, attempt.outcome() if attempt.done else None)

    async def step_async(self, action: ProfileAction, timeout_s: float | None = None) -> ProfileObservation:
        attempt = self._playing()
        text = await attempt.write_async(action.message)
        return _shown(text, await attempt.outcome_async() if attempt.done else None)

    @property
    def state(self) -> State:
        return self._state

    def get_metadata(self) -> EnvironmentMetadata:
        return EnvironmentMetadata(name="profilegym", description=_ABOUT, version=__version__)

    def list_splits(self) -> list[str]:
        return list(self._drivers)

    def num_tasks(self, split: str) -> int:
        return len(self._driver(split).questions)

    def get_task(self, split: str, index: int) -> dict[str, Any]:
        """The id alone: rubric and profile stay on the server."""
        return {"id": self._driver(split).questions.ids[index], "index": index}

    def get_task_range(self, split: str, start: int | None = None, stop: int | None = None) -> list[dict[str, Any]]:
        return [self.get_task(split, index) for index in range(self.num_tasks(split))[start:stop]]

    list_tasks = get_task_range

    def _driver(self, split: str | None) -> Driver:
        split = next(iter(self._drivers)) if split is None else split
        if split not in self._drivers:
            raise OptionError(f"no split {split!r}; known: {', '.join(self._drivers)}")
        return self._drivers[split]

    def _playing(self) -> Attempt:
        if self._attempt is None:
            raise EpisodeError("there is no episode yet: reset first, over the same WebSocket")
        self._state = State(episode_id=self._state.episode_id, step_count=self._state.step_count + 1)
        return self._attempt


def _shown(text: str, outcome: Outcome | None) -> ProfileObservation:
    if outcome is None:
        return ProfileObservation(text=text)
    told = {"ended": outcome.ended, "figures": dict(outcome.figures), "unscored": outcome.unscored}
    return ProfileObservation(text=text, done=True, reward=outcome.reward, metadata=told)


def make_app(data: Any = "world", *, sessions: int = 256, idle_seconds: float = 600.0, **options: Any) -> Any:
    """The FastAPI app. `data` is a spec, or specs by split; the other options are those of `Driver`."""
    specs = data if isinstance(data, Mapping) else {"test": data}
    drivers = {split: Driver(spec, **options) for split, spec in specs.items()}
    limits = ConcurrencyConfig(max_concurrent_envs=sessions, session_timeout=idle_seconds)
    made = partial(ProfileEnvironment, drivers)
    return create_app(made, ProfileAction, ProfileObservation, "profilegym", concurrency_config=limits)
