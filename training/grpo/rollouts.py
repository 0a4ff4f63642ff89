"""The rollouts of a training step: each question's group, with the profile and without."""

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
from ..call_rewards import call_rewards
from ..recipe import Recipe
from .group import Member


@dataclass(frozen=True, slots=True)
class Place:
    """The row of a rollout in a step, which determines its group and its member."""

    question_id: str
    step: int
    row: int  # over all processes
    draw: int = 0  # times that the group was resampled

    def member(self, size: int) -> int:
        return self.row % size


class Groups:
    """The episodes of each question's group: personalised members first, then baseline members."""

    def __init__(self, recipe: Recipe, questions: QuestionSet) -> None:
        self._recipe, self._questions = recipe, questions
        agent: Agent = make_agent(recipe.agent)
        self._agents: tuple[Agent, Agent] = (agent, Unpersonalised(agent.instructions))

    def jobs(self, places: Sequence[Place]) -> Iterator[Job]:
        group = self._recipe.group
        for place in places:
            agent = self._agents[place.member(group.size) >= group.personalised]
            question = swapped(self._questions.find(place.question_id), agent.profile, self._questions)
            attempt = f"{place.step}-{place.row}" + (f"-{place.draw}" if place.draw else "")
            yield Job(question, agent, attempt, self._questions.spec)

    def member(self, trajectory: Trajectory) -> Member:
        hops = self._questions.find(trajectory.question_id).rubric.hops
        return Member.of(trajectory, hops, self.call_rewards(trajectory))

    def call_rewards(self, trajectory: Trajectory) -> list[float] | None:
        """The rewards of its turns. None with an advantage of whole episodes, for a baseline, and where unknown."""
        if not self._recipe.by_turn or trajectory.kind == "baseline":
            return None
        asked = self._questions.find(trajectory.question_id)
        question = swapped(asked, self._agents[0].profile, self._questions)
        return call_rewards(trajectory, question, self._recipe.turn)


def engine(recipe: Recipe, model: Model, reward: RewardFunction) -> Rollout:
    """The rollout engine with the recipe's settings."""
    drawn = recipe.generation
    return Rollout(
        model,
        make_retriever(recipe.retriever),
        reward,
        Sampling(drawn.temperature, drawn.top_p, drawn.turn_tokens),
        drawn.in_flight,
        drawn.deadline,
        drawn.max_tokens,
        recipe.seed,
        recipe.episode.made,
    )


async def play(rollout: Rollout, jobs: Sequence[Job]) -> list[Trajectory]:
    """The trajectories in the order of the jobs."""
    async with aclosing(rollout.run(jobs)) as ended:
        found = {trajectory.id: trajectory async for trajectory in ended}
    return [found[job.id] for job in jobs]


class Rollouts:
    """Plays the rows of one process; a group may be split between processes."""

    def __init__(self, recipe: Recipe, questions: QuestionSet, model: Model, reward: RewardFunction) -> None:
        self._groups = Groups(recipe, questions)
        self._rollout = engine(recipe, model, reward)
        self._runner = asyncio.Runner()  # one event loop for the whole run, to keep connections open
        self.member = self._groups.member

    def play(self, places: Sequence[Place]) -> list[Trajectory]:
        """The trajectories in the order of the places."""
        return self._runner.run(play(self._rollout, list(self._groups.jobs(places))))

    def release(self) -> None:
        """The memory of the rows that were played, before a backward pass needs it."""
        self._runner.run(self._rollout.model.close())

    def close(self) -> None:
        self._runner.close()


def reward_total(trajectory: Trajectory) -> float | None:
    """The reward; None if the episode is unscored."""
    return trajectory.reward.total if trajectory.reward is not None else None
