"""The rollouts of a training step: each question's group, with its history and without."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from ...agents.agent import Agent, make_agent
from ...agents.models.model import Model
from ...agents.pr2 import Unpersonalised
from ...agents.rollout import Job, Rollout
from ...envs.chat import Sampling
from ...envs.data import QuestionSet
from ...envs.data.profile_controls import swapped
from ...envs.retrieval import make_retriever
from ...envs.reward import RewardFunction
from ...envs.trajectory import Trajectory
from ..recipe import Recipe


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row of a step stands: its group, and which member of it it is."""

    question_id: str
    step: int
    row: int  # over all processes
    draw: int = 0  # how often the group was drawn anew

    def member(self, size: int) -> int:
        return self.row % size


class Rollouts:
    """Plays the rows that a process was given; groups may straddle processes."""

    def __init__(self, recipe: Recipe, questions: QuestionSet, model: Model, reward: RewardFunction) -> None:
        self._recipe, self._questions = recipe, questions
        agent: Agent = make_agent(recipe.agent)
        self._agents: tuple[Agent, Agent] = (agent, Unpersonalised(agent.instructions))
        drawn = recipe.generation
        self._rollout = Rollout(
            model,
            make_retriever(recipe.retriever),
            reward,
            Sampling(drawn.temperature, drawn.top_p, drawn.turn_tokens),
            drawn.in_flight,
            drawn.deadline,
            drawn.max_tokens,
            recipe.seed,
            recipe.episode.model_dump(),
        )
        self._runner = asyncio.Runner()  # one loop for the whole run: connections outlast a step

    def play(self, places: Sequence[Place]) -> list[Trajectory]:
        """In the order of the places, whenever each ended."""
        found = self._runner.run(self._play(list(self._jobs(places))))
        return [found[job.id] for job in self._jobs(places)]

    def release(self) -> None:
        """The memory of the rows that were played, before a backward pass needs it."""
        self._runner.run(self._rollout.model.close())

    def close(self) -> None:
        self._runner.close()

    def hops(self, trajectory: Trajectory) -> int | None:
        return self._questions.find(trajectory.question_id).rubric.hops

    async def _play(self, jobs: Sequence[Job]) -> dict[str, Trajectory]:
        async with aclosing(self._rollout.run(jobs)) as ended:
            return {trajectory.id: trajectory async for trajectory in ended}

    def _jobs(self, places: Sequence[Place]) -> Iterator[Job]:
        group = self._recipe.group
        for place in places:
            agent = self._agents[place.member(group.size) >= group.personalised]
            question = swapped(self._questions.find(place.question_id), agent.profile, self._questions)
            attempt = f"{place.step}-{place.row}" + (f"-{place.draw}" if place.draw else "")
            yield Job(question, agent, attempt, self._questions.spec)


def reward_total(trajectory: Trajectory) -> float | None:
    """None where the episode could not be scored."""
    return trajectory.reward.total if trajectory.reward is not None else None
