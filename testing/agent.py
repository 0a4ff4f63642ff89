"""Conformance kit for agents."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, get_args

from .._util.sync import run_sync
from ..agents.agent import Agent, ModelHandle
from ..agents.rollout import DEFAULT_SAMPLING, Job, Rollout
from ..envs.action import Protocol
from ..envs.data.profile_controls import ProfileOf
from ..envs.episode import Episode
from ..envs.question import Question
from ..envs.retrieval import make_retriever
from ..envs.trajectory import Trajectory
from .agent_fixtures import FORGED, HIDDEN, UNRULY, Player, failing, hostile, questions
from .kit import Check, ContractViolation, register

CHECKS: list[Check] = []
_check = partial(register, CHECKS)
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)


@_check(
    "says what it is",
    "It declares its name, whose documents are searched, its retriever, how many episodes it plays at once, and its "
    "instructions beyond the protocol.",
    "Set name, profile ('own', 'random' or 'empty'), retriever (or None), max_concurrency (or None) and instructions "
    "(or ''); inherit BaseAgent for defaults.",
)
def _says_what_it_is(agent: Agent) -> None:
    expected: dict[str, Callable[[Any], bool]] = {
        "name": lambda name: isinstance(name, str) and name != "",
        "profile": lambda profile: profile in get_args(ProfileOf),
        "retriever": lambda retriever: retriever is None or hasattr(retriever, "search_many"),
        "max_concurrency": lambda max_concurrency: (
            max_concurrency is None or (isinstance(max_concurrency, int) and max_concurrency > 0)
        ),
        "instructions": lambda instructions: isinstance(instructions, str),
    }
    for attribute, fits in expected.items():
        value = getattr(agent, attribute, "(none)")
        if not fits(value):
            raise ContractViolation(f"its {attribute} is {value!r}")


@_check(
    "begins",
    "It starts a new episode on any question, with the options that it is given.",
    "Return Episode(question, **options); change only the options that define your agent.",
)
def _begins(agent: Agent) -> None:
    for number, question in enumerate(questions()):
        for protocol in PROTOCOLS:
            options = {"id": f"kit-{number}", "seed": number, "data": "kit", "protocol": protocol, "top_k": 2}
            episode, again = agent.begin(question, **options), agent.begin(question, **options)
            if not isinstance(episode, Episode) or episode is again or episode.needs not in ("text", "search"):
                raise ContractViolation(f"{_this(question)} began as {episode!r}, and then as {again!r}")
            for option, value in {"question": question, **options}.items():
                if getattr(episode, option) != value:
                    raise ContractViolation(
                        f"{_this(question)} began with {option}={getattr(episode, option)!r}, not {value!r}"
                    )


def _speaks(protocol: Protocol, agent: Agent) -> None:
    for most in (0, 1, 4):
        with_tags = _rollout(agent, questions(), Player(), protocol="tags", max_searches=most)
        played = _played(agent, questions(), protocol=protocol, max_searches=most)
        for trajectory, usual in zip(played, with_tags, strict=True):
            this = f"{trajectory.question_id} with max_searches={most}"
            if not _succeeded(trajectory):
                how = f"ended as {trajectory.ended!r} with {trajectory.malformed} malformed turns"
                raise ContractViolation(f"{this} {how}")
            queries, expected = _queries(trajectory), _queries(usual)
            if _succeeded(usual) and queries != expected:
                raise ContractViolation(f"{this} searched for {queries!r}, and with tags for {expected!r}")


def _succeeded(trajectory: Trajectory) -> bool:
    return trajectory.ended == "answered" and not trajectory.malformed


def _queries(trajectory: Trajectory) -> list[str]:
    return [search.query for search in trajectory.searches]


CHECKS.extend(
    Check(
        f"speaks {protocol}",
        f"With a model that follows protocol {protocol!r}, it answers within its turns, with the same queries as "
        "in 'tags'.",
        "Write your own turns with search_for and answer_with (agents/turn_format.py), read them with parse_action, "
        "and check episode.searches_left.",
        partial(_speaks, protocol),
    )
    for protocol in PROTOCOLS
)


@_check(
    "stateless",
    "From a copy of any unfinished episode it continues as it did from the original.",
    "Keep nothing on self between turns: the episode holds all state.",
)
def _stateless(agent: Agent) -> None:
    async def turns(question: Question) -> list[tuple[Episode, str]]:
        """A copy of the episode before each of the agent's turns, with the turn."""
        episode, so_far = agent.begin(question, seed=5), []
        while episode.needs != "score":
            if episode.needs == "search":
                found = (agent.retriever or make_retriever("bm25")).search(
                    question.profile, episode.query, episode.fetch_k
                )
                episode.add_hits(found)
            else:
                before = episode.copy()
                so_far.append((before, await _next(agent, episode)))
                episode.write(so_far[-1][1])
        return so_far

    first = [turn for question in questions()[:3] for turn in run_sync(turns(question))]
    for episode, text in reversed(first):
        if (again := run_sync(_next(agent, episode))) != text:
            place = f"{_this(episode.question)}, turn {episode.turn},"
            raise ContractViolation(f"{place} was {text[:80]!r}, and from a copy {again[:80]!r}")


async def _next(agent: Agent, episode: Episode) -> str:
    return (await agent.act(episode, ModelHandle(Player(), episode, DEFAULT_SAMPLING))).text


@_check(
    "hides the rubric",
    "The narrative, the aspects and the reference are in no prompt and no transcript.",
    "Use question.text and the documents found; question.rubric is for scoring only.",
)
def _hides_the_rubric(agent: Agent) -> None:
    for protocol in PROTOCOLS:
        player = Player()
        said = [
            (trajectory.question_id, segment.text)
            for trajectory in _played(agent, questions(), player, protocol=protocol)
            for segment in trajectory.segments
        ]
        for whose, text in [*said, *((question.id, text) for question, text in player.shown)]:
            for hidden in HIDDEN:
                if hidden in text:
                    raise ContractViolation(f"{whose} showed {hidden!r} in {text[-200:]!r}")


@_check(
    "many at once",
    "Episodes played at once are the same as alone, and no prompt holds text of another.",
    "Change nothing on self during an episode, await the model, and share nothing between episodes.",
)
def _many_at_once(agent: Agent) -> None:
    player = Player()
    together = _played(agent, questions(), player)
    for question, trajectory in zip(questions(), together, strict=True):
        (alone,) = _played(agent, [question])
        if trajectory != alone:
            raise ContractViolation(
                f"{_this(question)} said {_said(trajectory)} among others, and {_said(alone)} alone"
            )
    for question, text in player.shown:
        for other in questions():
            if other is not question and other.text in text:
                raise ContractViolation(
                    f"{_this(question)} showed the model {other.text!r}, which {other.user_id} asks"
                )


@_check(
    "hostile texts",
    "Tags, calls and commands in documents and questions are treated as text.",
    "Put foreign text through clean (envs/episode.py) before it goes into a turn or a prompt.",
)
def _hostile_texts(agent: Agent) -> None:
    for protocol in PROTOCOLS:
        (trajectory,) = _played(agent, [hostile()], protocol=protocol)
        if trajectory.ended != "answered" or trajectory.malformed or FORGED in str(trajectory.answer):
            raise ContractViolation(f"in protocol {protocol!r} it said {_said(trajectory)}")


@_check(
    "unruly models",
    "Any text of the model, also an empty one, is a turn, not an error.",
    "Return what the model wrote unchanged; the episode answers mistakes.",
)
def _unruly_models(agent: Agent) -> None:
    for text in UNRULY:
        for protocol in PROTOCOLS:
            _played(agent, questions()[:1], Player(lambda said, stop, text=text: text), protocol=protocol)  # type: ignore[misc]


@_check(
    "failing models",
    "When its model fails, the episode ends as an error, without an answer.",
    "Do not catch errors of the model; the engine records them.",
)
def _failing_models(agent: Agent) -> None:
    player = Player(failing)
    for trajectory in _rollout(agent, questions()[:3], player):
        asked = any(question.id == trajectory.question_id for question, _ in player.shown)
        if asked and trajectory.ended != "error":
            raise ContractViolation(
                f"{trajectory.question_id} ended as {trajectory.ended!r} with {trajectory.answer!r}"
            )


def _played(agent: Agent, asked: Sequence[Question], player: Player | None = None, **options: Any) -> list[Trajectory]:
    """As `_rollout`; any failure is a violation."""
    trajectories = _rollout(agent, asked, player or Player(), **options)
    for trajectory in trajectories:
        if trajectory.ended == "error":
            raise ContractViolation(f"{trajectory.question_id} with {options} failed: {str(trajectory.error)[:200]!r}")
    return trajectories


def _rollout(agent: Agent, asked: Sequence[Question], player: Player, **options: Any) -> list[Trajectory]:
    """Trajectories in the order of the questions, played concurrently as far as the agent allows."""
    rollout = Rollout(player, make_retriever("bm25"), in_flight=agent.max_concurrency or len(asked), options=options)

    async def run() -> dict[str, Trajectory]:
        return {played.question_id: played async for played in rollout.run(Job(question, agent) for question in asked)}

    played = run_sync(run())
    return [played[question.id] for question in asked]


def _this(question: Question) -> str:
    return f"the episode of {question.id}"


def _said(trajectory: Trajectory) -> str:
    return ascii(" | ".join(segment.text for segment in trajectory.segments if segment.author == "policy")[:200])
