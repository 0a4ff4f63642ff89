"""What every agent promises, as checks that look for a counter-example."""

from collections.abc import Callable, Iterator, Sequence
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
from .retriever import Check, CheckResult
from .retriever import examine as run_checks
from .retriever_assertions import ContractViolation

CHECKS: list[Check] = []
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)


def examine(agent: Agent) -> Iterator[CheckResult]:
    """Runs every check, with people and a model of the kit's own."""
    yield from run_checks(agent, CHECKS)


def _check(name: str, promise: str, fix: str) -> Callable[[Callable[[Any], None]], None]:
    return lambda run: CHECKS.append(Check(name, promise, fix, run))


@_check(
    "says what it is",
    "It has a name, says whose posts are searched, with which retriever, how many episodes it plays at once, and what "
    "it asks beyond the protocol.",
    "Set name, profile ('own', 'random' or 'empty'), retriever (or None), max_concurrency (or None) and instructions "
    "(or ''); inherit PR2 for these.",
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
    "It begins an episode on any question, each a new one, with the options that it is given.",
    "Return Episode(question, **options); change only the options that make your agent what it is.",
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
        with_tags = _through(agent, questions(), Player(), protocol="tags", max_searches=most)
        played = _played(agent, questions(), protocol=protocol, max_searches=most)
        for trajectory, usual in zip(played, with_tags, strict=True):
            this = f"{trajectory.question_id} with max_searches={most}"
            if not _went_well(trajectory):
                how = f"ended as {trajectory.ended!r} with {trajectory.malformed} malformed turns"
                raise ContractViolation(f"{this} {how}")
            queries, expected = _queries(trajectory), _queries(usual)
            if _went_well(usual) and queries != expected:
                raise ContractViolation(f"{this} searched for {queries!r}, and with tags for {expected!r}")


def _went_well(trajectory: Trajectory) -> bool:
    return trajectory.ended == "answered" and not trajectory.malformed


def _queries(trajectory: Trajectory) -> list[str]:
    return [search.query for search in trajectory.searches]


CHECKS.extend(
    Check(
        f"speaks {protocol}",
        f"With a model that does its part, it answers within its turns in protocol {protocol!r}, and searches for the "
        "same as with tags.",
        "Write your own turns with search_for and answer_with (agents/turn_format.py), read them with parse_action, "
        "and mind episode.searches_left.",
        partial(_speaks, protocol),
    )
    for protocol in PROTOCOLS
)


@_check(
    "stateless",
    "It goes on from any episode as if it had played it so far.",
    "Keep nothing on self between turns: all there is to know is in the episode.",
)
def _stateless(agent: Agent) -> None:
    async def turns(question: Question) -> list[tuple[Episode, str]]:
        """Each episode that was to be gone on with, and how it was."""
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
            raise ContractViolation(f"{place} was {text[:80]!r}, and when it was gone on with {again[:80]!r}")


async def _next(agent: Agent, episode: Episode) -> str:
    return (await agent.act(episode, ModelHandle(Player(), episode, DEFAULT_SAMPLING))).text


@_check(
    "hides the rubric",
    "Neither the model nor the transcript is shown the narrative, an aspect or the reference.",
    "Use question.text and what searches found; question.rubric is for scoring only.",
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
    "Episodes that are played at once are those that are played alone, and none hears of another.",
    "Keep nothing on self that an episode changes; await the speaker, and share nothing between episodes.",
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
    "Posts and questions may hold tags, calls and commands: they are only text.",
    "Put foreign text through clean (envs/episode.py) before it goes into a turn or a prompt.",
)
def _hostile_texts(agent: Agent) -> None:
    for protocol in PROTOCOLS:
        (trajectory,) = _played(agent, [hostile()], protocol=protocol)
        if trajectory.ended != "answered" or trajectory.malformed or FORGED in str(trajectory.answer):
            raise ContractViolation(f"in protocol {protocol!r} it said {_said(trajectory)}")


@_check(
    "unruly models",
    "A model may write anything, or nothing: that is a turn, not an error.",
    "Return what the model wrote, whatever it is; the episode answers mistakes.",
)
def _unruly_models(agent: Agent) -> None:
    for text in UNRULY:
        for protocol in PROTOCOLS:
            _played(agent, questions()[:1], Player(lambda said, stop, text=text: text), protocol=protocol)  # type: ignore[misc]


@_check(
    "failing models",
    "When its model fails, so does the episode: no answer is made up.",
    "Let errors of the speaker pass; the engine records them.",
)
def _failing_models(agent: Agent) -> None:
    player = Player(failing)
    for trajectory in _through(agent, questions()[:3], player):
        asked = any(question.id == trajectory.question_id for question, _ in player.shown)
        if asked and trajectory.ended != "error":
            raise ContractViolation(
                f"{trajectory.question_id} ended as {trajectory.ended!r} with {trajectory.answer!r}"
            )


def _played(agent: Agent, asked: Sequence[Question], player: Player | None = None, **options: Any) -> list[Trajectory]:
    """Whose every failure is a counter-example."""
    trajectories = _through(agent, asked, player or Player(), **options)
    for trajectory in trajectories:
        if trajectory.ended == "error":
            raise ContractViolation(f"{trajectory.question_id} with {options} failed: {str(trajectory.error)[:200]!r}")
    return trajectories


def _through(agent: Agent, asked: Sequence[Question], player: Player, **options: Any) -> list[Trajectory]:
    """All at once, as far as the agent can; in the order of the questions."""
    rollout = Rollout(player, make_retriever("bm25"), in_flight=agent.max_concurrency or len(asked), options=options)

    async def run() -> dict[str, Trajectory]:
        return {played.question_id: played async for played in rollout.run(Job(question, agent) for question in asked)}

    played = run_sync(run())
    return [played[question.id] for question in asked]


def _this(question: Question) -> str:
    return f"the episode of {question.id}"


def _said(trajectory: Trajectory) -> str:
    return ascii(" | ".join(segment.text for segment in trajectory.segments if segment.author == "policy")[:200])
