"""Who plays an episode, and where agents are found by name."""

from collections.abc import Callable, Sequence
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
from .models.model import STOPS, Model, Session, Turn

NOTHING_LEFT = Turn("", finish="length", prompt_tokens=0, completion_tokens=0)  # what no token writes


@dataclass(slots=True)
class TokenUsage:
    """What an episode took of its model; None as soon as one turn's share is not known."""

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
    """A model as one episode hears it: its turns in the transcript, questions aside, and what all of it took."""

    def __init__(self, model: Model, episode: Episode, sampling: Sampling, max_tokens: int | None = None) -> None:
        self.taken = TokenUsage()
        self.out_of_context = False
        self.interventions: list[str] | None = None  # why an agent that corrects its model did so, in the order of time
        self.sampling = sampling
        self._model, self._episode, self._left = model, episode, max_tokens
        self._session: Session | None = None

    @property
    def spent(self) -> bool:
        """Whether the episode's budget of tokens, or the model's context, is used up."""
        return self.out_of_context or self._left == 0

    @property
    def model_name(self) -> str:
        return self._model.name

    async def turn(self) -> Turn:
        """The next turn of the transcript."""
        episode = self._episode
        if self._session is None:
            self._session = self._model.open(episode.question, episode.seed)
        allowed = self._within_budget()
        if allowed.max_tokens == 0:
            return NOTHING_LEFT
        turn = await self._session.generate(episode.segments, allowed, STOPS[episode.protocol])
        self._count(turn, allowed)
        return turn

    async def side_query(self, prompt: str, stop: Sequence[str] = ()) -> Turn:
        """An answer to something that is not part of the transcript."""
        return await self._apart([Segment("environment", prompt)], stop, self._episode.seed)

    async def offline_query(self, prompt: str, sampling: Sampling) -> Turn:
        """An answer that outlasts the episode: it is the same whichever episode asks, and whoever asks counts it."""
        return await self._alone([Segment("environment", prompt)], sampling, (), 0)

    async def continue_turn(self, begun: str, attempt: int = 0) -> Turn:
        """How the next turn of the transcript could go on from its beginning; each attempt has luck of its own."""
        said = [*self._episode.segments, Segment("policy", begun)]
        return await self._apart(said, STOPS[self._episode.protocol], _seed(self._episode.seed, attempt))

    @property
    def usage(self) -> dict[str, Any]:
        """As a trajectory keeps it."""
        noted = {} if self.interventions is None else {"interventions": self.interventions}
        return asdict(self.taken) | noted

    def close(self) -> None:
        if self._session is not None:
            self._session.close()

    async def _apart(self, said: Sequence[Segment], stop: Sequence[str], seed: int | None) -> Turn:
        allowed = self._within_budget()
        if allowed.max_tokens == 0:
            return NOTHING_LEFT
        turn = await self._alone(said, allowed, stop, seed)
        self._count(turn, allowed)
        return turn

    async def _alone(self, said: Sequence[Segment], sampling: Sampling, stop: Sequence[str], seed: int | None) -> Turn:
        """In a conversation of its own."""
        session = self._model.open(self._episode.question, seed)
        try:
            return await session.generate(said, sampling, stop)
        finally:
            session.close()

    def _count(self, turn: Turn, allowed: Sampling) -> None:
        self.taken.add(turn)
        self.out_of_context = turn.finish == "context"
        if self._left is not None:
            # Where a model does not say how much it wrote, which may be more than it shows, its allowance is the only
            # bound that holds.
            wrote = allowed.max_tokens if turn.completion_tokens is None else turn.completion_tokens
            self._left = max(0, self._left - wrote)

    def _within_budget(self) -> Sampling:
        if self._left is None or self._left >= self.sampling.max_tokens:
            return self.sampling
        return replace(self.sampling, max_tokens=self._left)


def _seed(seed: int | None, attempt: int) -> int | None:
    """The episode's own for the first attempt."""
    if seed is None or not attempt:
        return seed
    return int.from_bytes(blake2b(f"{seed}:{attempt}".encode(), digest_size=7).digest())


def _sum(one: Any, other: Any) -> Any:
    return None if one is None or other is None else one + other


class Agent(Protocol):
    """Decides the next text from an episode so far, and keeps nothing of its own: any episode can be gone on with.

    `profile` says whose posts are searched: the asker's, another user's (a control), or none. `retriever` is None where
    the run's own is to be used, `max_concurrency` where any number of episodes can be played at the same time.
    `instructions` is what it asks of its model beyond the protocol; the baseline rollout is asked it, too.
    """

    name: str
    profile: ProfileOf
    retriever: Retriever | None
    max_concurrency: int | None
    instructions: str

    def begin(self, question: Question, **options: Any) -> Episode:
        """An episode as this agent plays it; the options are those of `Episode`."""
        ...

    async def act(self, episode: Episode, speaker: ModelHandle) -> Turn:
        """The next turn of an episode that needs text."""
        ...


AGENTS = Registry(
    "agent",
    {
        "human": "profilegym.agents.human:Human",
        "none": "profilegym.agents.pr2:none",
        "plan": "profilegym.agents.plan:Plan",
        "pr2": "profilegym.agents.pr2:PR2",
        "prlm": "profilegym.agents.prlm:prlm",
        "r2p": "profilegym.agents.r2p:R2P",
        "rag": "profilegym.agents.rag:rag",
        "rag-random": "profilegym.agents.rag:rag_random",
        "recency": "profilegym.agents.rag:recency",
        "rpm": "profilegym.agents.rpm.agent:RPM",
        "scripted": "profilegym.agents.scripted:Scripted",
        "tagpr": "profilegym.agents.tagpr:tagpr",
    },
)


def make_agent(spec: "str | Agent") -> Agent:
    """The agent that a spec names: `pr2`, `none`, `rag`, `plan`, `scripted:oracle`, `module:factory` …"""
    agent: Agent = AGENTS.make(spec) if isinstance(spec, str) else spec
    return agent


def register_agent(name: str, factory: Callable[..., Agent]) -> None:
    """Make `factory` available as `--agent name`."""
    AGENTS.register(name, factory)
