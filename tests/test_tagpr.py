"""TagPR's agent asks for tagged steps, and what comes of them can be told from the record."""

from collections.abc import Callable
from typing import Any

import pytest

from profilegym import Question
from profilegym.agents.agent import make_agent
from profilegym.agents.conformance import CHECKS
from profilegym.envs.tags import TAGS


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_tagpr_keeps_the_promises_of_an_agent(check: Any) -> None:
    check.run(make_agent("tagpr"))


def test_all_tags_are_named_with_what_they_are_for(ask: Callable[..., Question]) -> None:
    guide = make_agent("tagpr").begin(ask()).guide

    assert len(TAGS) == 9
    assert all(f"<{tag}>{does}</{tag}>" in guide for tag, does in TAGS.items())
