"""Answers that try to talk an evaluator into a score, by what they try."""

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import NamedTuple

OF_ONE_QUESTION = ("rubric", "profile")  # these repeat what belongs to the question that they were written for


class Attack(NamedTuple):
    id: str
    kind: str
    answer: str


def attacks() -> Iterator[Attack]:
    """The corpus, in its order."""
    lines = files(__package__).joinpath("attacks.jsonl").read_text("utf-8").splitlines()
    return (Attack(**json.loads(line)) for line in lines)
