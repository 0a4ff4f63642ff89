"""Agent, the model handle that it asks, and the registry of agents."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import Any, Protocol

from .._util.registry import Registry
from ..envs.chat import Sampling
from ..envs.data.profile_controls import ProfileOf
from ..envs.episode import Episode
from ..envs.question import Question
from ..envs.retrieval import Retriever
from ..envs.trajectory import Segment
from .models.model import Model, Session, Turn, offer_tools, stops_of

NOTHING_LEFT = Turn("", finish="length", prompt_tokens=0, completion_tokens=0)  # a turn of no tokens


@dataclass(slots=True)
class TokenUsage:
    """Turns, tokens and cost of an episode; None if one turn does not report them."""

    turns: int = 0
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    cost: float | None = 0.0

    def add(self, turn: Turn) -> None:
        self.turns += 1
        self.prompt_tokens = _sum(self.prompt_tokens, turn.prompt_tokens)
        self.completion_tokens = _sum(self.completion_tokens, turn.completion_tokens)
        self.cost = _sum(self.cost, turn.cost)


class ModelHandle:
    """One episode's access to its model: next turn, side queries, token counts."""

    def __init__(self, model: Model, episode: Episode, sampling: Sampling, max_tokens: int | None = None) -> None:
        self.token_usage = TokenUsage()
        self.agent_usage: dict[str, Any] = {}  # what the agent itself adds to `usage`
        self.out_of_context = False
        self.sampling = sampling
        self._model, self._episode, self._tokens_left = model, episode, max_tokens
        self._session: Session | None = None

    @property
    def exhausted(self) -> bool:
        """Whether the episode's token budget or the model's context is used up."""
        return self.out_of_context or self._tokens_left == 0

    @property
    def model_name(self) -> str:
        return self._model.name

    @property
    def usage(self) -> dict[str, Any]:
        """The `usage` field of a trajectory."""
        return asdict(self.token_usage) | self.agent_usage

    async def turn(self) -> Turn:
        """The next turn of the transcript."""
        episode = self._episode
        if self._session is None:
            self._session = self._model.open(episode.question, episode.seed)
            offer_tools(self._session, episode)
        return await self._within_budget(self._session, episode.segments, stops_of(episode))

    async def side_query(self, prompt: str, stop: Sequence[str] = ()) -> Turn:
        """The reply to a prompt outside the transcript."""
        with self._new_session(self._episode.seed) as session:
            return await self._within_budget(session, [Segment("environment", prompt)], stop)

    async def offline_query(self, prompt: str, sampling: Sampling) -> Turn:
        """A reply that does not depend on the episode, for work shared between episodes. Not counted in `usage`."""
        with self._new_session(0) as session:
            return await session.generate([Segment("environment", prompt)], sampling, ())

    async def continue_turn(self, prefix: str, attempt: int = 0) -> Turn:
        """A continuation of the next turn from its prefix; each attempt samples with a seed of its own."""
        segments = [*self._episode.segments, Segment("policy", prefix)]
        with self._new_session(_seed(self._episode.seed, attempt)) as session:
            offer_tools(session, self._episode)
            return await self._within_budget(session, segments, stops_of(self._episode))

    def close(self) -> None:
        if self._session is not None:
            self._session.close()

    @contextmanager
    def _new_session(self, seed: int | None) -> Iterator[Session]:
        session = self._model.open(self._episode.question, seed)
        try:
            yield session
        finally:
            session.close()

    async def _within_budget(self, session: Session, segments: Sequence[Segment], stop: Sequence[str]) -> Turn:
        if self._tokens_left == 0:
            return NOTHING_LEFT
        sampling = self.sampling
        if self._tokens_left is not None:
            sampling = replace(sampling, max_tokens=min(sampling.max_tokens, self._tokens_left))
        turn = await session.generate(segments, sampling, stop)
        self.token_usage.add(turn)
        self.out_of_context = turn.finish == "context"
        if self._tokens_left is not None and not turn.by_rule:
            # A model that reports no usage may have written more than it shows, so its whole allowance is counted.
            written = sampling.max_tokens if turn.completion_tokens is None else turn.completion_tokens
            self._tokens_left = max(0, self._tokens_left - written)
        return turn


def _seed(seed: int | None, attempt: int) -> int | None:
    """The episode's own seed for the first attempt."""
    if seed is None or not attempt:
        return seed
    return int.from_bytes(blake2b(f"{seed}:{attempt}".encode(), digest_size=7).digest())


def _sum(one: Any, other: Any) -> Any:
    return None if one is None or other is None else one + other


class Agent(Protocol):
    """Decides the next text of an episode. It keeps no state between turns: any episode can be continued.

    `profile` selects whose posts are searched: the user's own, another user's (a control), or none. `retriever` is None
    for the run's own, `max_concurrency` None for any number of concurrent episodes. `instructions` are added to the
    prompt, also in the baseline rollout.
    """

    name: str
    profile: ProfileOf
    retriever: Retriever | None
    max_concurrency: int | None
    instructions: str

    def begin(self, question: Question, **options: Any) -> Episode:
        """A new episode; the options are those of `Episode`."""
        ...

    async def act(self, episode: Episode, model: ModelHandle) -> Turn:
        """The next turn of an episode that needs text."""
        ...


class BaseAgent:
    """Defaults to inherit: searches the user's own profile, and lets the model write every turn."""

    name: str
    profile: ProfileOf = "own"
    retriever: Retriever | None = None
    max_concurrency: int | None = None
    instructions: str = ""

    def begin(self, question: Question, **options: Any) -> Episode:
        return Episode(question, **options)

    async def act(self, episode: Episode, model: ModelHandle) -> Turn:
        return await model.turn()


AGENTS = Registry(
    "agent",
    {
        "none": "profilegym.agents.pr2:none",
        "plan": "profilegym.agents.plan:Plan",
        "pr2": "profilegym.agents.pr2:PR2",
        "prlm": "profilegym.agents.rag:prlm",
        "r2p": "profilegym.agents.r2p:R2P",
        "rag": "profilegym.agents.rag:rag",
        "rag-random": "profilegym.agents.rag:rag_random",
        "recency": "profilegym.agents.rag:recency",
        "rpm": "profilegym.agents.rpm.agent:RPM",
        "scripted": "profilegym.agents.scripted:Scripted",
        "tagpr": "profilegym.agents.rag:tagpr",
    },
    ("name", "profile", "retriever", "max_concurrency", "instructions", "begin", "act"),
)


def make_agent(spec: "str | Agent") -> Agent:
    """Makes the agent of a spec: `pr2`, `none`, `rag`, `plan`, `scripted:oracle`, `module:factory` …"""
    agent: Agent = AGENTS.make(spec) if isinstance(spec, str) else spec
    return agent


def register_agent(name: str, factory: Callable[..., Agent]) -> None:
    """Make `factory` available as `--agent name`."""
    AGENTS.register(name, factory)
