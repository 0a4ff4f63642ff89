"""A reward model from what the policy itself answers: with the profile, without, and with somebody else's."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from ...agents.models.model import MODELS
from ...evaluation.evaluate import Speed, evaluate
from ...evaluation.run import RunDirectory
from ..quiet import quieten
from ..recipe import Player
from ..settings import Count, Positive, Share
from .train import Kind, Settings, train

PLAYED, REPORT = "played", "report.json"


class RewardModelling(Player):
    """PrLM's by default; PRMU also has to see how `another` answers, an agent with somebody else's posts."""

    method: Literal["reward-model"]
    kind: Kind = "prlm"
    another: str | None = None
    limit: Count | None = None  # questions
    encoder: str = "tiny"
    epochs: Count = 3
    batch: Count = 64
    learning_rate: Positive | None = None
    held_out: Share = 0.1
    confirmed: bool = False  # only pairs whose better answer also scored more

    def _problems(self) -> Iterator[tuple[bool, str]]:
        yield from super()._problems()
        yield (
            (self.kind == "prmu") != (self.another is not None),
            "kind=prmu, and no other, needs another: an agent with somebody else's posts, as tagpr:profile=random",
        )

    def _scored(self) -> Iterator[str]:
        yield self.data.train

    @property
    def agents(self) -> dict[str, str]:
        """Who plays, by whose posts are shown."""
        return {"own": self.agent} | ({"another": self.another} if self.another is not None else {})


def contrast(recipe: RewardModelling, out: Path) -> dict[str, Any]:
    """The reward model's report; killed and called again, it goes on where it was."""
    quieten()
    with RunDirectory(out).writing(recipe.model_dump()):
        if not (out / REPORT).exists():
            _play(recipe, out)
        return train(_settings(recipe, out), out)


def _play(recipe: RewardModelling, out: Path) -> None:
    model = MODELS.make(recipe.model, rows=recipe.generation.rows)
    speed = Speed(recipe.generation.in_flight, recipe.generation.deadline)
    for whose, agent in recipe.agents.items():
        settings = recipe.playing(recipe.data.train, recipe.limit, agent=agent)
        asyncio.run(evaluate(settings, RunDirectory(out / PLAYED / whose), speed, model=model))


def _settings(recipe: RewardModelling, out: Path) -> Settings:
    return Settings(
        tuple(str(out / PLAYED / whose) for whose in recipe.agents),
        recipe.kind,
        recipe.encoder,
        recipe.epochs,
        recipe.batch,
        recipe.learning_rate,
        recipe.held_out,
        recipe.seed,
        recipe.confirmed,
    )
