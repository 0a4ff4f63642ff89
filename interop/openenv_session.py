"""OpenEnv sessions that play whole episodes, with a model of this package, and give their tokens to a trainer."""

import asyncio
from collections.abc import Mapping
from typing import Any

from .._util.sync import run_sync
from ..agents.models.model import Model, Turn, make_model
from ..envs.chat import Sampling
from ..errors import EpisodeError, MissingExtra, ModelError
from .driver import Attempt, Driver

try:
    from openenv.core.harness import ResourceSession, ResourceSessionFactory, TrainingTrace, TrainingTurn, VerifyResult
except ImportError as error:
    raise MissingExtra("the sessions of OpenEnv", "openenv") from error


class ProfileSession(ResourceSession):
    """One episode, a `TrainableSession`. What the policy read and wrote is kept as the model's own tokens."""

    def __init__(self, attempt: Attempt, model: Model, sampling: Sampling, seed: int | None) -> None:
        self._attempt, self._model, self._sampling, self._seed = attempt, model, sampling, seed
        self._turns: list[TrainingTurn] = []

    def initial_messages(self) -> list[dict[str, Any]]:
        return self._attempt.messages[:1]

    def list_tools(self) -> list[Any]:
        """None: searches are text."""
        return []

    def call_tool(self, name: str, arguments: Mapping[str, Any]) -> Any:
        raise EpisodeError(f"the session has no tool {name!r}: it plays the episode by itself")

    def wait_for_completion(self, timeout_s: float | None = None) -> int:
        """Plays the episode: 0, or 1 where the model failed or time ran out, which is unscored."""
        try:
            run_sync(asyncio.wait_for(self._play(), timeout_s))
        except (ModelError, TimeoutError) as error:
            self._attempt.fail(f"{type(error).__name__}: {error}")
            return 1
        return 0

    def fetch_training_trace(self) -> TrainingTrace:
        """The turns so far. The control has a mask of 0 everywhere."""
        return TrainingTrace(turns=self._turns)

    def verify(self, transcript: Any, final_state: Any = None) -> VerifyResult:
        """The reward, None where it could not be scored: `metrics["unscored"]` then says why."""
        self._attempt.stop()
        outcome = self._attempt.outcome()
        metrics = {**outcome.figures, "ended": outcome.ended, "unscored": outcome.unscored}
        return VerifyResult(env_reward=outcome.reward, done=True, metrics=metrics)

    def close(self) -> None:
        self._attempt.stop()

    async def _play(self) -> None:
        attempt = self._attempt
        session = self._model.open(attempt.episode.question, self._seed)
        try:
            while not attempt.done:
                turn = await session.generate(attempt.episode.segments, self._sampling, attempt.stops)
                self._turns.append(self._training_turn(turn))
                await attempt.write_async(turn.text, turn.tokens, turn.logprobs)
                if turn.finish == "context":
                    attempt.stop()
        finally:
            session.close()

    def _training_turn(self, turn: Turn) -> TrainingTurn:
        given = turn.segment_tokens
        if turn.tokens is None or turn.logprobs is None or given is None or any(one is None for one in given):
            raise ModelError(f"model {self._model.name} gives no tokens with log-probabilities: take hf: or vllm:")
        prompt = [token for one in given for token in one or ()]
        trained = int(self._attempt.episode.kind == "personalised")
        return TrainingTurn(
            node_id=f"{self._attempt.episode.id}:{len(self._turns)}",
            prompt_token_ids=prompt,
            completion_token_ids=list(turn.tokens),
            per_token_logps=list(turn.logprobs),
            loss_mask=[0] * len(prompt) + [trained] * len(turn.tokens),
        )


class ProfileSessions(ResourceSessionFactory[ProfileSession]):
    """Makes a session for a task: the id of a question, or `{"id": …, "kind": "baseline"}` for the control."""

    def __init__(self, driver: Driver, model: str | Model, sampling: Sampling | None = None) -> None:
        self._driver, self._model = driver, make_model(model)
        self._sampling = sampling or Sampling(temperature=1.0)

    def create(self, task: Any, seed: int | None = None, episode_id: str | None = None) -> ProfileSession:
        chosen: Mapping[str, Any] = task if isinstance(task, Mapping) else {"id": str(task)}
        attempt = self._driver.attempt(chosen["id"], chosen.get("kind", "personalised"), episode_id)
        return ProfileSession(attempt, self._model, self._sampling, seed)
