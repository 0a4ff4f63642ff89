"""Pytest classes to inherit in your own tests, one for each kit."""

from typing import Any, ClassVar, Generic, TypeVar

import pytest

from ..agents.agent import Agent
from ..agents.models.model import Model
from ..envs.retrieval import Retriever
from ..envs.reward import RewardFunction
from ..rewards.judge import Judge
from .agent import CHECKS as OF_AGENTS
from .judge import CHECKS as OF_JUDGES
from .kit import Check
from .model import CHECKS as OF_MODELS
from .retriever import CHECKS as OF_RETRIEVERS
from .reward import CHECKS as OF_REWARDS

__all__ = ["AgentContract", "JudgeContract", "ModelContract", "RetrieverContract", "RewardContract"]

T = TypeVar("T")


class _Contract(Generic[T]):
    _made: ClassVar[Any]

    def make(self) -> T:
        raise NotImplementedError(f"{type(self).__name__} must define make(self), which returns the object to check")

    @pytest.fixture
    def made(self) -> T:
        """Made once per class, as it may load a model."""
        if "_made" not in vars(type(self)):
            type(self)._made = self.make()
        made: T = vars(type(self))["_made"]  # self._made would bind a function to self
        return made


def _each(checks: list[Check]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("check", checks, ids=lambda check: check.name.replace(" ", "-"))


class RetrieverContract(_Contract[Retriever]):
    """Inherit it and define `make`: pytest runs each check of the kit on your retriever.

    class TestMine(RetrieverContract):
        def make(self):
            return Mine()
    """

    @_each(OF_RETRIEVERS)
    def test_it_keeps_its_promise(self, check: Check, made: Retriever) -> None:
        check.run(made)


class RewardContract(_Contract[RewardFunction]):
    """The same for a reward."""

    @_each(OF_REWARDS)
    def test_it_keeps_its_promise(self, check: Check, made: RewardFunction) -> None:
        check.run(made)


class JudgeContract(_Contract[Judge]):
    """The same for a judge. It judges about forty short answers; use a scripted model or a cache."""

    @_each(OF_JUDGES)
    def test_it_keeps_its_promise(self, check: Check, made: Judge) -> None:
        check.run(made)


class AgentContract(_Contract[Agent]):
    """The same for an agent, with the kit's questions and model."""

    @_each(OF_AGENTS)
    def test_it_keeps_its_promise(self, check: Check, made: Agent) -> None:
        check.run(made)


class ModelContract(_Contract[Model]):
    """The same for a model. It writes about sixty short turns."""

    @_each(OF_MODELS)
    def test_it_keeps_its_promise(self, check: Check, made: Model) -> None:
        check.run(made)
