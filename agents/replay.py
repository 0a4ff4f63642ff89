"""An agent that first says what was recorded, and then lets another go on."""

from typing import Any

from ..envs.data.profile_controls import ProfileOf
from ..envs.episode import Episode
from ..envs.question import Question
from ..envs.retrieval import Retriever
from ..envs.trajectory import Segment, Trajectory
from .agent import Agent, ModelHandle
from .models.model import Turn


class Replayed:
    """Plays like `agent`, but its first `step` turns are those of a trajectory: word for word and token by token.

    Its episodes take the agent's own retriever and profile, unless others are named.
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

    async def act(self, episode: Episode, speaker: ModelHandle) -> Turn:
        said = episode.segments
        made = sum(segment.author == "policy" for segment in said)
        if made >= len(self._turns):
            return await self._agent.act(episode, speaker)
        turn = self._turns[made]
        recorded = zip(self.trajectory.segments, said, strict=False)
        segment_tokens = [
            then.tokens if then.text == now.text else None for then, now in recorded
        ]  # it may read otherwise now
        return Turn(turn.text, turn.tokens, turn.logprobs, segment_tokens)


def recorded_turns(trajectory: Trajectory) -> list[Segment]:
    """What the policy wrote, turn by turn."""
    return [segment for segment in trajectory.segments if segment.author == "policy"]
