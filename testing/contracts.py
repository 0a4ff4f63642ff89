"""Pytest classes to inherit in your own tests, one for each kit."""

from typing import Any, ClassVar, Generic, TypeVar

import pytest

from ..agents.agent import Agent
from ..agents.models.model import Model
from ..envs.retrieval import Retriever
from ..envs.reward import RewardFunction
from ..envs.tools import Tool
from ..rewards.judge import Judge
from . import agent, judge, model, retriever, reward, tool
from .kit import Check

__all__ = ["AgentContract", "JudgeContract", "ModelContract", "RetrieverContract", "RewardContract", "ToolContract"]

T = TypeVar("T")


class _Contract(Generic[T]):
    checks: ClassVar[list[Check]]
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

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "check" in metafunc.fixturenames:
            metafunc.parametrize("check", self.checks, ids=lambda check: check.name.replace(" ", "-"))

    def test_it_keeps_its_promise(self, check: Check, made: T) -> None:
        check.run(made)


class RetrieverContract(_Contract[Retriever]):
    """Inherit it and define `make`: pytest runs each check of the kit on your retriever.

    class TestMine(RetrieverContract):
        def make(self):
            return Mine()
    """

    checks = retriever.CHECKS


class ToolContract(_Contract[Tool | tool.ToolOnData]):
    """The same for a tool; `make_tool(spec)` and `Tool.of(function)` make one.

    For a tool that knows only its own users, return `ToolOnData(tool, people_of(questions))` of `testing/tool.py`.
    """

    checks = tool.CHECKS


class RewardContract(_Contract[RewardFunction]):
    """The same for a reward."""

    checks = reward.CHECKS


class JudgeContract(_Contract[Judge]):
    """The same for a judge. It judges about forty short answers; use a scripted model or a cache."""

    checks = judge.CHECKS


class AgentContract(_Contract[Agent]):
    """The same for an agent, with the kit's questions and model."""

    checks = agent.CHECKS


class ModelContract(_Contract[Model]):
    """The same for a model. It writes about sixty short turns."""

    checks = model.CHECKS
