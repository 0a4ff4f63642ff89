"""A live game: one question, played from the policy's chair by a person, a policy or both in turn. It shows nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from dataclasses import asdict, dataclass
from itertools import count
from time import perf_counter
from typing import Any

from ...agents.agent import TokenUsage, make_agent
from ...agents.models.model import Turn
from ...agents.pr2 import PR2
from ...agents.rollout import Job, Rollout
from ...agents.turn_format import answer_with, search_for
from ...envs.episode import Episode
from ...envs.question import Document, Question
from ...envs.retrieval import Retriever
from ...envs.reward import Reward, RewardFunction
from ...envs.trajectory import Trajectory
from ...errors import EpisodeError, ModelError, OptionError, ProfileGymError, RetrievalError
from ...evaluation.summary import score_of
from .moves import Clue, Move, found_by, moves_of, opening_of
from .policy import Policy

PERSON = "human"


@dataclass(frozen=True, slots=True)
class Table:
    """What games are played with.

    `policy` is who can be asked. `keep` is given the record of a game that is over, and again with its baseline.
    """

    retriever: Retriever
    reward: RewardFunction
    policy: Policy | None = None
    keep: Callable[[Trajectory], None] = lambda _: None

    def retriever_of(self, policy: Policy | None) -> Retriever:
        """Some agents bring their own."""
        return (policy.agent.retriever if policy else None) or self.retriever


@dataclass(frozen=True, slots=True)
class _Standing:
    """A game after some moves. Its episode is never written to again: the next standing holds a copy."""

    episode: Episode
    moves: tuple[Move, ...]


class Game:
    """Every turn can be taken back by `undo`, and tried otherwise in a `branch`. A turn that fails changes nothing."""

    def __init__(
        self,
        episode: Episode,
        table: Table,
        baseline: Mapping[str, Any] | None = None,
        by: str = PERSON,
        *,
        question: Question | None = None,
        parent: Mapping[str, Any] | None = None,
    ) -> None:
        """Goes on with an episode that needs text, `by` whoever played it so far.

        `baseline` is the answer without the profile and its score, where a run has recorded them. `question` is the
        same one with the posts that are searched from here on, where they are others. `parent` is the
        trajectory that is gone on with, as the record tells it, and what is done otherwise.
        """
        if episode.needs != "text":
            raise EpisodeError(f"episode {episode.id} needs {episode.needs or 'nothing'}; a game goes on with text")
        self.id = episode.id
        self.table = table
        self.baseline = baseline
        self.opening = opening_of(episode)
        first = _Standing(episode.copy(), moves_of(episode, by))
        first.episode.question = question or episode.question
        self._asked = (first.episode.question, episode.question)
        self._standings: tuple[_Standing, ...] = (first,)
        self._proposal: tuple[_Standing, Turn] | None = None
        self._branches = count(1)
        self._parent = parent or {}
        self._twin_of: tuple[Game, tuple[_Standing, ...]] | None = None

    @classmethod
    async def begin(
        cls, question: Question, table: Table, *, parent: Mapping[str, Any] | None = None, **options: Any
    ) -> "Game":
        """A new game, as the policy's agent would begin it; the options are those of `Episode`."""
        agent = table.policy.agent if table.policy else PR2()
        episode = agent.begin(question, **options)
        if episode.needs == "search":
            await _search(episode, table.retriever_of(table.policy))
        return cls(episode, table, parent=parent)

    @property
    def episode(self) -> Episode:
        """To be read only."""
        return self._standing.episode

    @property
    def question(self) -> Question:
        return self.episode.question

    @property
    def moves(self) -> tuple[Move, ...]:
        return self._standing.moves

    @property
    def over(self) -> bool:
        return self.episode.ended is not None

    @property
    def proposal(self) -> Turn | None:
        """What the policy said when it was asked at this place."""
        return self._proposal[1] if self._proposal and self._proposal[0] is self._standing else None

    @property
    def unseen(self) -> int:
        """How many of the person's posts no search has shown."""
        return sum(document not in self._seen for document in self.question.profile.documents)

    async def search(self, query: str) -> None:
        """A person's slip costs no turn, as a policy's mistake would."""
        if not query.strip():
            raise EpisodeError("the search is empty: say what to look for")
        if not (self.over or self.episode.searches_left):
            raise EpisodeError("no searches are left: answer")
        await self.write(Turn(search_for(query, "Let me look.", self.episode.protocol)))

    async def answer(self, text: str) -> None:
        if not text.strip():
            raise EpisodeError("the answer is empty: say something")
        await self.write(Turn(answer_with(text, "As I see it.", self.episode.protocol)))

    async def write(self, turn: Turn, by: str = PERSON) -> None:
        """Take a turn as it is written, mistakes included."""
        self._must_be_on()
        before, episode = self._standings, self.episode.copy()
        action = episode.write(turn.text, turn.tokens, turn.logprobs, turn.segment_tokens)
        found = None
        if episode.needs == "search":
            await _search(episode, self.table.retriever_of(self.table.policy))
            found = found_by(episode, episode.searches[-1])
        elif episode.needs == "text" and turn.finish == "context":
            episode.truncate()
        if episode.needs == "score":
            episode.score(await _worth(episode, self.table.reward))
        self._standings = (*before, _Standing(episode, (*before[-1].moves, Move(by, turn, action, found))))
        self._keep()

    async def ask(self) -> Turn:
        """The policy's next turn, without taking it; asked again at the same place, it says the same."""
        self._must_be_on()
        standing, known = self._standing, self.proposal
        if known is None:
            known = await self._policy.turn(standing.episode.copy())
            self._proposal = standing, known
        return known

    async def take(self) -> None:
        """Let the policy take the turn."""
        await self.write(await self.ask(), self._policy.agent.name)

    def undo(self) -> None:
        """Take the last turn back, be it the one that ended the game."""
        if len(self._standings) == 1:
            raise EpisodeError("there is no turn to take back")
        self._standings = self._standings[:-1]

    def branch(self) -> "Game":
        """A game that goes on from here on its own; its id begins with this one's."""
        twin = copy(self)
        twin.id = f"{self.id}.{next(self._branches)}"
        twin._branches = count(1)
        twin._twin_of = self, self._standings
        return twin

    async def play_baseline(self) -> Mapping[str, Any]:
        """The same policy's answer without the profile, and its score; played once."""
        if self.baseline is None:
            self.baseline = await self._without_profile()
            self._keep()
        return self.baseline

    def clues(self) -> list[Clue]:
        """What a good answer rests on, found and missed; hidden while the game is on."""
        if not self.over:
            raise EpisodeError("what the answer rests on stays hidden until the game is over")
        own = next((asked.profile.by_id for asked in self._asked if asked.profile.user_id == asked.user_id), {})
        return [
            Clue(aspect.title, document, own.get(document), own.get(document) in self._seen)
            for aspect in self.question.rubric.aspects
            for document in aspect.documents
        ]

    def trajectory(self) -> Trajectory:
        """The record so far: who moved, and what that took."""
        record, policy, taken = self.episode.trajectory(), self.table.policy, TokenUsage()
        for move in self.moves:
            taken.add(move.turn)
        players = dict.fromkeys(move.by for move in self.moves)
        record.id = self.id
        record.parent = self._branched_off()
        record.agent = "+".join(players) or PERSON
        record.model = policy.model.name if policy and policy.agent.name in players else None
        record.usage = asdict(taken)
        record.baseline = self.baseline
        return record

    @property
    def _standing(self) -> _Standing:
        return self._standings[-1]

    @property
    def _seen(self) -> set[Document | None]:
        """What searches showed: the posts themselves, as two people's may have the same id."""
        found = (self.opening, *(move.found for move in self.moves))
        return {hit.document for one in found if one for hit in one.hits}

    @property
    def _policy(self) -> Policy:
        if self.table.policy is None:
            raise OptionError("there is no policy to ask: name one by its agent and its model")
        return self.table.policy

    def _branched_off(self) -> Mapping[str, Any] | None:
        """The trajectory or the game that this one is a branch of, and how many of its turns they share."""
        if self._twin_of is None or "id" in self._parent:
            return self._parent or None
        twin, standings = self._twin_of
        shared = sum(one is other for one, other in zip(self._standings, standings, strict=False))
        return {"id": twin.id, "step": shared - 1, **self._parent}

    def _must_be_on(self) -> None:
        if self.over:
            raise EpisodeError("the game is over: take a turn back to go on")

    def _keep(self) -> None:
        if self.over:
            self.table.keep(self.trajectory())

    async def _without_profile(self) -> Mapping[str, Any]:
        policy, episode = self._policy, self.episode
        rollout = Rollout(
            policy.model,
            self.table.retriever,
            self.table.reward,
            policy.sampling,
            seed=episode.seed or 0,
            options={"protocol": episode.protocol},
        )
        (played,) = [trajectory async for trajectory in rollout.run([Job(self.question, make_agent("none"))])]
        if played.error:
            raise ModelError(f"the policy gave no answer without the profile: {played.error}")
        return {"answer": played.answer, "score": score_of(played)}


async def _search(episode: Episode, retriever: Retriever) -> None:
    """In a thread: whoever shows the game goes on meanwhile."""
    start = perf_counter()
    try:
        hits = await asyncio.to_thread(retriever.search, episode.question.profile, episode.query, episode.fetch_k)
    except ProfileGymError:
        raise
    except Exception as error:
        raise RetrievalError(f"the retriever failed: {type(error).__name__}: {error}") from error
    episode.add_hits(hits, 1e3 * (perf_counter() - start))


async def _worth(episode: Episode, reward: RewardFunction) -> Reward:
    """What could not be scored says why; it is never a score of 0."""
    try:
        rewards = reward([episode])
        (worth,) = await rewards if isinstance(rewards, Awaitable) else rewards
    except Exception as error:
        return Reward(None, unscored=f"the reward function failed: {type(error).__name__}: {error}")
    return worth
