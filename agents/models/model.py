"""Model, session and turn, and the registry of models."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal
from typing import Protocol as Interface

from ..._util.registry import Registry
from ...envs.action import Protocol
from ...envs.chat import Sampling
from ...envs.episode import Episode
from ...envs.question import Question
from ...envs.trajectory import Segment

Finish = Literal["stop", "length", "context"]
STOPS = {"tags": ("</search>", "</answer>"), "tools": ("</tool_call>",)}  # by an episode's protocol

STOPS_WITH_TOOLS = STOPS | {"tags": ("</search>", "</tool>", "</answer>")}  # where an episode offers several tools


def stops_of(episode: Episode) -> tuple[str, ...]:
    """The strings that end a turn of the episode."""
    return stops_for(episode.protocol, episode.tools is not None)


def stops_for(protocol: Protocol, several_tools: bool) -> tuple[str, ...]:
    """The strings that end a turn. With native tool calls, a turn ends as the model's chat template ends it."""
    return (STOPS_WITH_TOOLS if several_tools else STOPS)[protocol]


def offer_tools(session: "Session", episode: Episode) -> None:
    """Gives the tools of an episode in protocol "tools" to a session that can write native calls: one with `tools`."""
    if episode.tools is not None and episode.protocol == "tools" and hasattr(session, "tools"):
        session.tools = episode.tools.schemas


@dataclass(frozen=True, slots=True)
class Turn:
    """A model's output and its usage. Unknown values are None.

    `tokens` are exactly those sampled, with their log-probabilities. `segment_tokens` are the tokens that the model was
    given for each segment of the transcript. `finish` is `length` at `max_tokens`, and `context` at the end of the
    model's context. `by_rule` is for scripts: what they write counts towards no budget of tokens.
    """

    text: str
    tokens: Sequence[int] | None = None
    logprobs: Sequence[float] | None = None
    segment_tokens: Sequence[Sequence[int] | None] | None = None
    finish: Finish = "stop"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None
    by_rule: bool = False


class Session(Interface):
    """One conversation with a model. It may cache the transcript, so that nothing is processed twice."""

    async def generate(self, segments: Sequence[Segment], sampling: Sampling, stop: Sequence[str]) -> Turn:
        """The next turn of a transcript. The text includes the stop string that ended it.

        If the last segment is the policy's own, its text is continued. Raises `ModelError` if no turn can be generated.
        """
        ...

    def close(self) -> None:
        """Ends the conversation."""
        ...


class Model(Interface):
    """Writes turns in any number of concurrent conversations."""

    name: str

    def open(self, question: Question, seed: int | None) -> Session:
        """Opens a conversation. Only scripted models use the question; the seed determines all sampling."""
        ...

    async def close(self) -> None:
        """Releases the model's resources."""
        ...


MODELS = Registry(
    "model",
    {
        "hf": "profilegym.agents.models.hf:load",
        "openai": "profilegym.agents.models.openai_policy:connect",
        "pilot": "profilegym.world.pilot.model:load",
        "smollm2": "profilegym.agents.models.smollm2:load",
        "scripted": "profilegym.agents.models.scripted:make",
        "vllm": "profilegym.agents.models.vllm:connect",
    },
    ("name", "open", "close"),
)


def make_model(spec: "str | Model") -> Model:
    """Makes the model of a spec: `pilot`, `hf:PATH_OR_ID`, `vllm:URL`, `openai:MODEL`, `module:factory` …"""
    model: Model = MODELS.make(spec) if isinstance(spec, str) else spec
    return model


def register_model(name: str, factory: Callable[..., Model]) -> None:
    """Make `factory` available as `--model name`."""
    MODELS.register(name, factory)
