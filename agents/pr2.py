"""PR2, the interleaving policy (reasons, searches when it decides to, answers), and the baseline without a profile."""

from typing import Any

from ..envs.episode import Episode
from ..envs.question import Question
from .agent import BaseAgent


class PR2(BaseAgent):
    """The model writes every turn."""

    name = "pr2"


class Unpersonalised(BaseAgent):
    """The baseline: the same policy and prompt, without searches and without the profile."""

    name = "none"

    def __init__(self, instructions: str = "") -> None:
        self.instructions = instructions

    def begin(self, question: Question, **options: Any) -> Episode:
        return super().begin(question, **(options | {"kind": "baseline", "instructions": self.instructions}))


def none() -> Unpersonalised:
    return Unpersonalised()
