"""Contracts to inherit in your own tests. Needs pytest."""

from typing import ClassVar

import pytest

from ..envs.retrieval import Retriever
from ..envs.retrieval.conformance import CHECKS, Check

__all__ = ["RetrieverContract"]


class RetrieverContract:
    """Inherit it, define `make`, and pytest runs each check of the conformance kit on your retriever.

    class TestMine(RetrieverContract):
        def make(self):
            return Mine()
    """

    _made: ClassVar[Retriever]

    def make(self) -> Retriever:
        raise NotImplementedError(f"{type(self).__name__} must define make(self), which returns your retriever")

    @pytest.fixture
    def retriever(self) -> Retriever:
        """Made once a class, as it may load a model."""
        if "_made" not in vars(type(self)):
            type(self)._made = self.make()
        return self._made

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name.replace(" ", "-"))
    def test_it_keeps_its_promise(self, check: Check, retriever: Retriever) -> None:
        check.run(retriever)
