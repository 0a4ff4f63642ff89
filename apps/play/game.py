"""A live game: one question, played by a person, a policy or both in turn, without any display."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass
from itertools import count
from time import perf_counter
from typing import Any

from ..._util.sync import awaiting_plug_in, to_thread
from ...agents.agent import TokenUsage
from ...agents.models.model import Turn
from ...agents.pr2 import PR2, Unpersonalised
from ...agents.rollout import Job, Rollout
from ...agents.turn_format import answer_with, call_tool, search_for
from ...envs.action import Answer, Malformed
from ...envs.episode import Episode
from ...envs.question import Document, Question
from ...envs.retrieval import Retriever
from ...envs.reward import Reward, RewardFunction, plain_reward
from ...envs.tools import Toolset
from ...envs.tools.running import run_call_async
from ...envs.trajectory import Trajectory
from ...errors import EpisodeError, ModelError, OptionError, ProfileGymError, RetrievalError
from ...evaluation.summary import score_of
from .calls import arguments_of, read_call
from .policy import Policy
from .turns import Evidence, GameTurn, initial_search, results_of, turns_of

PERSON = "human"
_CITES = re.compile(r"(.*\S)\s+cites: *([^\n]*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class GameSetup:
    """Retriever, reward and policy of games. `keep` gets the record of a finished game, and again with its baseline."""

    retriever: Retriever
    reward: RewardFunction
    policy: Policy | None = None
    keep: Callable[[Trajectory], None] = lambda _: None

    def retriever_of(self, policy: Policy | None) -> Retriever:
        """The agent's own retriever if it has one."""
        return (policy.agent.retriever if policy else None) or self.retriever


@dataclass(frozen=True, slots=True)
class _State:
    """A game after some turns. Its episode is never changed: the next state has a copy."""

    episode: Episode
    turns: tuple[GameTurn, ...]


class Game:
    """`undo` takes a turn back, `branch` copies the game. A turn that fails changes nothing."""

    def __init__(
        self,
        episode: Episode,
        setup: GameSetup,
        baseline: Mapping[str, Any] | None = None,
        by: str = PERSON,
        *,
        question: Question | None = None,
        parent: Mapping[str, Any] | None = None,
    ) -> None:
        """Continue an episode that needs text; `by` names who played it so far.

        `baseline`: answer and score without the profile, if recorded. `question`: the same question with other posts to
        search from here on. `parent`: the trajectory that the game branches from, and the options that differ.
        """
        if episode.needs != "text":
            raise EpisodeError(f"episode {episode.id} needs {episode.needs or 'nothing'}; a game goes on with text")
        self.id = episode.id
        self.setup = setup
        self.baseline = baseline
        self.opening = initial_search(episode)
        first = _State(episode.copy(), turns_of(episode, by))
        first.episode.question = question or episode.question
        self._asked = (first.episode.question, episode.question)
        self._states: tuple[_State, ...] = (first,)
        self._proposal: tuple[_State, Turn] | None = None
        self._branches = count(1)
        self._parent = parent or {}
        self._branched_from: tuple[Game, tuple[_State, ...]] | None = None

    @classmethod
    async def begin(
        cls, question: Question, setup: GameSetup, *, parent: Mapping[str, Any] | None = None, **options: Any
    ) -> "Game":
        """A new game, begun by the policy's agent; the options are those of `Episode`."""
        agent = setup.policy.agent if setup.policy else PR2()
        try:
            episode = agent.begin(question, **options)
        except ProfileGymError:
            raise
        except Exception as error:
            raise EpisodeError(f"{agent.name} cannot begin: {type(error).__name__}: {error}") from error
        if episode.needs == "search":
            await _search(episode, setup.retriever_of(setup.policy))
        return cls(episode, setup, parent=parent)

    @property
    def episode(self) -> Episode:
        """The episode so far. Do not change it."""
        return self._state.episode

    @property
    def question(self) -> Question:
        return self.episode.question

    @property
    def turns(self) -> tuple[GameTurn, ...]:
        return self._state.turns

    @property
    def over(self) -> bool:
        return self.episode.ended is not None

    @property
    def proposal(self) -> Turn | None:
        """The policy's next turn, if it was asked in this state."""
        return self._proposal[1] if self._proposal and self._proposal[0] is self._state else None

    @property
    def unseen(self) -> int:
        """Number of posts that no search has shown."""
        return sum(document not in self._seen for document in self.question.profile.documents)

    async def search(self, query: str) -> None:
        """Raises on an empty query or without searches left; a policy's mistake would cost a turn instead."""
        if not query.strip():
            raise EpisodeError("the search is empty: say what to look for")
        if not (self.over or self.episode.searches_left):
            raise EpisodeError("no searches are left: answer")
        tools = self.episode.tools
        if tools is not None and "search_profile" not in tools.tools:
            raise EpisodeError(f"this game has no search; call one of its tools: {tools.signatures}")
        await self.write(Turn(search_for(query, "Let me look.", self.episode.protocol)))

    async def call(self, name: str, arguments: Mapping[str, Any]) -> None:
        """Call one of several tools. Raises where the policy would be corrected."""
        tools = self._tools
        if not (self.over or self.episode.searches_left):
            raise EpisodeError("no calls are left: answer")
        match tools.parse(name, arguments):
            case Malformed(reason):
                raise EpisodeError(reason)
            case Answer(text):
                await self.answer(text)
            case _:
                await self.write(Turn(call_tool(name, dict(arguments), "Let me look.", self.episode.protocol)))

    async def call_typed(self, line: str) -> None:
        """A call as a person types it: `latest n=2`, or `latest {"n": 2}`."""
        await self.call(*read_call(line, self._tools))

    async def call_form(self, name: str, texts: Mapping[str, str]) -> None:
        """A call whose arguments are texts by name, as a form gives them; an empty one is left out."""
        tool = self._tools.tools.get(name)
        given = {argument: text.strip() for argument, text in texts.items() if text.strip()}
        await self.call(name, arguments_of(tool, given) if tool else given)

    async def answer(self, text: str) -> None:
        """Where the game asks for citations, `cites: id1, id2` may follow the text."""
        if not text.strip():
            raise EpisodeError("the answer is empty: say something")
        said, cites = _cited(text) if self.episode.cites is not None else (text, ())
        await self.write(Turn(answer_with(said, "As I see it.", self.episode.protocol, cites)))

    async def write(self, turn: Turn, by: str = PERSON) -> None:
        """Take a turn as written, mistakes included."""
        self._require_open()
        before, episode = self._states, self.episode.copy()
        action = episode.write(turn.text, turn.tokens, turn.logprobs, turn.segment_tokens)
        if episode.needs == "call":
            action = await run_call_async(episode) or action
        while episode.needs in ("call", "search"):  # the turn may hold several calls
            if episode.needs == "call":
                await run_call_async(episode)
            else:
                await _search(episode, self.setup.retriever_of(self.setup.policy))
        found = results_of(episode, len(before[-1].turns))
        if not found and episode.needs == "text" and turn.finish == "context":
            episode.truncate()
        if episode.needs == "score":
            episode.score(await _scored(episode, self.setup.reward))
        self._states = (*before, _State(episode, (*before[-1].turns, GameTurn(by, turn, action, found))))
        self._keep()

    async def ask(self) -> Turn:
        """The policy's next turn, without taking it. Asked again in the same state, it is the same."""
        self._require_open()
        state, known = self._state, self.proposal
        if known is None:
            known = await self._policy.turn(state.episode.copy())
            self._proposal = state, known
        return known

    async def take(self) -> None:
        """Let the policy take the turn."""
        await self.write(await self.ask(), self._policy.agent.name)

    def undo(self) -> None:
        """Take the last turn back, also the one that ended the game."""
        if len(self._states) == 1:
            raise EpisodeError("there is no turn to take back")
        self._states = self._states[:-1]

    def branch(self) -> "Game":
        """A copy that continues from here; its id begins with this one's."""
        twin = copy(self)
        twin.id = f"{self.id}.{next(self._branches)}"
        twin._branches = count(1)
        twin._branched_from = self, self._states
        return twin

    async def play_baseline(self) -> Mapping[str, Any]:
        """The policy's answer without the profile, and its score. Played once."""
        if self.baseline is None:
            self.baseline = await self._without_profile()
            self._keep()
        return self.baseline

    def evidence(self) -> list[Evidence]:
        """The evidence for a good answer, found and missed. Raises while the game is on."""
        if not self.over:
            raise EpisodeError("the evidence is hidden until the game is over")
        own = next((asked.profile.by_id for asked in self._asked if asked.profile.user_id == asked.user_id), {})
        return [
            Evidence(aspect.title, document, own.get(document), own.get(document) in self._seen)
            for aspect in self.question.rubric.aspects
            for document in aspect.documents
        ]

    def has_shown(self, document: Document) -> bool:
        """Whether a search showed it."""
        return document in self._seen

    def trajectory(self) -> Trajectory:
        """The record so far, with the usage of all turns."""
        record, policy, taken = self.episode.trajectory(), self.setup.policy, TokenUsage()
        for turn in self.turns:
            taken.add(turn.turn)
        players = dict.fromkeys(turn.by for turn in self.turns)
        record.id = self.id
        record.parent = self._branch_record()
        record.agent = "+".join(players) or PERSON
        record.model = policy.model.name if policy and policy.agent.name in players else None
        record.usage = asdict(taken)
        record.baseline = self.baseline
        return record

    @property
    def _state(self) -> _State:
        return self._states[-1]

    @property
    def _seen(self) -> set[Document | None]:
        """Documents that searches showed: not their ids, as those of two users may be equal."""
        found = (*filter(None, (self.opening,)), *(one for turn in self.turns for one in turn.found))
        return {hit.document for one in found for hit in one.hits}

    @property
    def _tools(self) -> Toolset:
        if self.episode.tools is None:
            raise EpisodeError("this game has no tools to call: start it with --tools")
        return self.episode.tools

    @property
    def _policy(self) -> Policy:
        if self.setup.policy is None:
            raise OptionError("there is no policy to ask: name its agent and its model")
        return self.setup.policy

    def _branch_record(self) -> Mapping[str, Any] | None:
        """The trajectory or game that this one branches from, and the number of shared turns."""
        if self._branched_from is None or "id" in self._parent:
            return self._parent or None
        twin, states = self._branched_from
        shared = sum(one is other for one, other in zip(self._states, states, strict=False))
        return {"id": twin.id, "step": shared - 1, **self._parent}

    def _require_open(self) -> None:
        if self.over:
            raise EpisodeError("the game is over: take a turn back to go on")

    def _keep(self) -> None:
        if self.over:
            self.setup.keep(self.trajectory())

    async def _without_profile(self) -> Mapping[str, Any]:
        policy, episode = self._policy, self.episode
        rollout = Rollout(
            policy.model,
            self.setup.retriever,
            self.setup.reward,
            policy.sampling,
            seed=episode.seed or 0,
            options={"protocol": episode.protocol, "tools": episode.tools, "cites": episode.cites is not None},
        )
        job = Job(self.question, Unpersonalised(policy.agent.instructions))
        (played,) = [trajectory async for trajectory in rollout.run([job])]
        if played.error:
            raise ModelError(f"the policy gave no answer without the profile: {played.error}")
        return {"answer": played.answer, "score": score_of(played)}


def _cited(text: str) -> tuple[str, Sequence[str]]:
    """The text of an answer and the ids after `cites:`."""
    found = _CITES.fullmatch(text.strip())
    return (found[1], [name for name in map(str.strip, found[2].split(",")) if name]) if found else (text, ())


async def _search(episode: Episode, retriever: Retriever) -> None:
    """In a thread, so that the display stays responsive."""
    start = perf_counter()
    try:
        hits = await to_thread(retriever.search, episode.question.profile, episode.query, episode.fetch_k)
    except ProfileGymError:
        raise
    except Exception as error:
        raise RetrievalError(f"the retriever failed: {type(error).__name__}: {error}") from error
    episode.add_hits(hits, 1e3 * (perf_counter() - start))


async def _scored(episode: Episode, reward: RewardFunction) -> Reward:
    """A failure of the reward is an unscored reward with its reason, never a score of 0."""
    try:
        rewards = reward([episode])
        if isinstance(rewards, Awaitable):
            with awaiting_plug_in():
                rewards = await rewards
        (worth,) = map(plain_reward, rewards)
    except Exception as error:
        return Reward(None, unscored=f"the reward function failed: {type(error).__name__}: {error}")
    return worth
