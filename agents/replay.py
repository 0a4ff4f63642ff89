"""An agent that replays recorded turns, then continues with another agent."""

from typing import Any

from ..envs.data.profile_controls import ProfileOf
from ..envs.episode import Episode
from ..envs.question import Question
from ..envs.retrieval import Retriever
from ..envs.trajectory import Segment, Trajectory
from .agent import Agent, ModelHandle
from .models.model import Turn


class Replayed:
    """Replays the first `step` turns of a trajectory with their exact tokens; then `agent` continues.

    Searches use the agent's retriever and profile unless others are given.
    """

    def __init__(
        self,
        agent: Agent,
        trajectory: Trajectory,
        step: int,
        retriever: Retriever | None = None,
        profile: ProfileOf | None = None,
    ) -> None:
        self.name = agent.name
        self.profile: ProfileOf = profile or agent.profile
        self.retriever = retriever or agent.retriever
        self.max_concurrency, self.instructions = agent.max_concurrency, agent.instructions
        self.trajectory = trajectory
        self._agent, self._turns = agent, recorded_turns(trajectory)[:step]

    def begin(self, question: Question, **options: Any) -> Episode:
        return self._agent.begin(question, **options)

    async def act(self, episode: Episode, model: ModelHandle) -> Turn:
        segments = episode.segments
        turns = sum(segment.author == "policy" for segment in segments)
        if turns >= len(self._turns):
            return await self._agent.act(episode, model)
        turn = self._turns[turns]
        pairs = zip(self.trajectory.segments, segments, strict=False)
        # Observations may differ from the recorded ones: then the recorded tokens do not apply.
        segment_tokens = [recorded.tokens if recorded.text == now.text else None for recorded, now in pairs]
        return Turn(turn.text, turn.tokens, turn.logprobs, segment_tokens)


def recorded_turns(trajectory: Trajectory) -> list[Segment]:
    """The policy's turns."""
    return [segment for segment in trajectory.segments if segment.author == "policy"]
