"""What writes the policy's turns, and where models are found by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ..._util.registry import Registry
from ...envs.chat import Sampling
from ...envs.question import Question
from ...envs.trajectory import Segment

Finish = Literal["stop", "length", "context"]
STOPS = {"tags": ("</search>", "</answer>"), "tools": ("</tool_call>",)}  # by an episode's protocol


@dataclass(frozen=True, slots=True)
class Turn:
    """What a model wrote, and what it took. Unknown is None.

    `tokens` are exactly those sampled, with their log-probabilities. `segment_tokens` are the tokens in which the model
    read each segment of the transcript so far. `finish` is `length` where `max_tokens` cut it off, and `context` where
    the model can read no more.
    """

    text: str
    tokens: Sequence[int] | None = None
    logprobs: Sequence[float] | None = None
    segment_tokens: Sequence[Sequence[int] | None] | None = None
    finish: Finish = "stop"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None


class Session(Protocol):
    """One conversation with a model. It may remember what it read, so that nothing is read twice."""

    async def generate(self, said: Sequence[Segment], sampling: Sampling, stop: Sequence[str]) -> Turn:
        """Go on from all that was said so far. The text includes the stop string that ended it.

        Where the last segment is the policy's own, its text is continued. Raises `ModelError` when no turn can be had.
        """
        ...

    def close(self) -> None:
        """The conversation is over, or given up."""
        ...


class Model(Protocol):
    """Writes turns in any number of conversations at once."""

    name: str

    def open(self, question: Question, seed: int | None) -> Session:
        """Begin a conversation. Only scripted models look at the question; the seed decides all that is drawn."""
        ...

    async def close(self) -> None:
        """Give back what the model holds."""
        ...


MODELS = Registry(
    "model",
    {
        "hf": "profilegym.agents.models.hf:load",
        "openai": "profilegym.agents.models.openai_policy:connect",
        "pilot": "profilegym.world.pilot.model:load",
        "scripted": "profilegym.agents.models.scripted:make",
    },
)


def make_model(spec: "str | Model") -> Model:
    """The model that a spec names: `pilot`, `hf:PATH_OR_ID`, `openai:MODEL`, `scripted:NAME`, `module:factory` …"""
    model: Model = MODELS.make(spec) if isinstance(spec, str) else spec
    return model


def register_model(name: str, factory: Callable[..., Model]) -> None:
    """Make `factory` available as `--model name`."""
    MODELS.register(name, factory)
