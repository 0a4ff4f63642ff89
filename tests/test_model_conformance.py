"""The conformance kit of models: what keeps its promises, and that each fault breaks its promise."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from profilegym import Question
from profilegym.agents.models.model import Model, Turn, make_model
from profilegym.apps.check import check_judge, check_model
from profilegym.envs.chat import Sampling
from profilegym.envs.trajectory import Segment
from profilegym.testing import ModelContract
from profilegym.testing.kit import examine
from profilegym.testing.model import CHECKS

ANSWER = "<think>I know.</think><answer>Rooibos.</answer>"


class Steady:
    """Writes the same turn for the same transcript; subclasses have one fault each."""

    name = "steady"

    def open(self, question: Question, seed: int | None) -> Any:
        return SteadySession(self)

    async def close(self) -> None:
        """There is nothing to give back."""

    def turn(self, said: Sequence[Segment], sampling: Sampling) -> Any:
        tokens = list(range(min(5, sampling.max_tokens)))
        whole = len(tokens) == 5
        return Turn(
            ANSWER if whole else ANSWER[:9],
            tokens,
            [-0.5] * len(tokens),
            segment_tokens=[[1, 2] for _ in said],
            finish="stop" if whole else "length",
        )


class SteadySession:
    def __init__(self, model: Steady) -> None:
        self._model = model

    async def generate(self, said: Sequence[Segment], sampling: Sampling, stop: Sequence[str]) -> Any:
        return self._model.turn(said, sampling)

    def close(self) -> None:
        """There is nothing to give back."""


class Nameless(Steady):
    name = ""


class Silent(Steady):
    def turn(self, said: Sequence[Segment], sampling: Sampling) -> Any:
        return None


class GoesOn(Steady):
    def turn(self, said: Sequence[Segment], sampling: Sampling) -> Any:
        return replace(super().turn(said, sampling), text=f"{ANSWER} And another thing.")


class Wordy(Steady):
    def turn(self, said: Sequence[Segment], sampling: Sampling) -> Any:
        return super().turn(said, replace(sampling, max_tokens=5))


class Counting(Steady):
    def __init__(self) -> None:
        self.turns = 0

    def turn(self, said: Sequence[Segment], sampling: Sampling) -> Any:
        self.turns += 1
        return replace(super().turn(said, sampling), text=f"<answer>{self.turns}</answer>")


class WithoutLogprobs(Steady):
    def turn(self, said: Sequence[Segment], sampling: Sampling) -> Any:
        return replace(super().turn(said, sampling), logprobs=None)


class Deaf(Steady):
    def turn(self, said: Sequence[Segment], sampling: Sampling) -> Any:
        return replace(super().turn(said, sampling), segment_tokens=None)


class OnlyBegins(Steady):
    def turn(self, said: Sequence[Segment], sampling: Sampling) -> Any:
        if said[-1].author == "policy":
            raise ValueError("the last message is the assistant's")
        return super().turn(said, sampling)


class Forgetful(Steady):
    def turn(self, said: Sequence[Segment], sampling: Sampling) -> Any:
        if len(said) > 2:
            raise ValueError("there is one turn only")
        return super().turn(said, sampling)


class TestSteady(ModelContract):
    def make(self) -> Model:
        return Steady()


@pytest.mark.parametrize("spec", ["scripted:world", "scripted:oracle", "scripted:steps"])
def test_models_without_weights_keep_their_promises(spec: str) -> None:
    assert all(finding.passed for finding in examine(make_model(spec), CHECKS))


def test_the_pilot_keeps_its_promises() -> None:
    pytest.importorskip("torch")

    assert check_model("pilot") == 0


@pytest.mark.parametrize(
    ("faulty", "broken"),
    [
        (Nameless, {"name"}),
        (Silent, {check.name for check in CHECKS} - {"name"}),
        (GoesOn, {"stops", "token budget"}),
        (Wordy, {"token budget"}),
        (Counting, {"greedy is repeatable", "many at once"}),
        (WithoutLogprobs, {"tokens"}),
        (Deaf, {"tokens"}),
        (OnlyBegins, {"continues a turn"}),
        (Forgetful, {"conversations"}),
    ],
)
def test_a_fault_breaks_its_promise(faulty: type[Steady], broken: set[str]) -> None:
    found = {finding.check.name for finding in examine(faulty(), CHECKS) if not finding.passed}

    assert found <= broken
    assert found & broken


def test_the_command_says_how_a_model_and_a_judge_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_model("scripted:world") == 0
    assert check_judge("rubric") == 0
    assert check_model(f"{__file__}:Wordy") == 1
    assert "token budget" in capsys.readouterr().out
