"""Evaluates an agent on a data set, with and without the profile."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..agents.agent import Agent, make_agent
from ..agents.models.model import Model, make_model
from ..agents.pr2 import Unpersonalised
from ..agents.rollout import Job, Rollout
from ..envs.chat import Sampling
from ..envs.data import QuestionSet, load_questions
from ..envs.data.profile_controls import swapped
from ..envs.data.spec import read_spec
from ..envs.episode import HIT_CHARS
from ..envs.episode_options import checked_options
from ..envs.retrieval import make_retriever
from ..envs.reward import RewardFunction
from ..envs.trajectory import Trajectory, TrajectoryWriter
from ..errors import OptionError
from ..rewards import make_reward
from .alarms import alarms
from .recorded_run import RecordedRun
from .run import RunDirectory
from .summary import Place, place_of, score_of, summarise

Progress = Callable[[int, int, Trajectory | None], None]  # episodes done, total, and the latest
_EPISODE = ("top_k", "max_searches", "protocol", "max_shown", "cites")
_WHO = ("agent", "model", "data")


@dataclass(frozen=True)
class Settings:
    """Everything that determines the results of a run."""

    agent: str = "pr2"
    model: str = "pilot"
    data: str = "world:seed=7/test"
    judge: str | None = None
    retriever: str = "bm25"
    limit: int | None = None
    seeds: int = 1
    first_seed: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    turn_tokens: int = 256
    max_tokens: int | None = 2048
    top_k: int = 3
    max_searches: int = 4
    protocol: str = "tags"
    tools: str | None = None
    max_shown: int | None = None
    cites: bool = False
    costs: str | None = None
    hit_chars: int | None = None  # None: that of `Episode`
    metric: str | None = None  # a reward, in the place of a judge

    def __post_init__(self) -> None:
        for name in ("seeds", "turn_tokens", "max_tokens", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name}={value!r}: give a whole number of at least 1")
        if self.hit_chars == HIT_CHARS:  # which was not recorded before there was this option
            object.__setattr__(self, "hit_chars", None)
        if self.judge and self.metric:
            raise OptionError(f"judge={self.judge!r} and metric={self.metric!r}: give one, as there is one score")
        checked_options(self._of_episodes)
        _ = self.sampling

    @classmethod
    def of(cls, recorded: Mapping[str, Any]) -> "Settings":
        """The settings recorded in a run directory; other keys are ignored."""
        return cls(**{field.name: recorded[field.name] for field in fields(cls) if field.name in recorded})

    @property
    def arguments(self) -> list[str]:
        """The arguments of `profilegym eval` for this run; defaults are left out."""
        named = [
            field.name for field in fields(self) if field.name in _WHO or getattr(self, field.name) != field.default
        ]
        options = [(f"--{name.replace('_', '-')}", getattr(self, name)) for name in named]
        return [word for option, value in options for word in ([option] if value is True else [option, str(value)])]

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.temperature, self.top_p, self.turn_tokens)

    @property
    def options(self) -> dict[str, Any]:
        """Those of the episodes, with their tools made."""
        options = checked_options(self._of_episodes | {"tools": self.tools, "costs": self.costs})
        return {name: value for name, value in options.items() if value is not None}

    @property
    def _of_episodes(self) -> dict[str, Any]:
        cut = {} if self.hit_chars is None else {"hit_chars": self.hit_chars}
        return {name: getattr(self, name) for name in _EPISODE} | cut


@dataclass(frozen=True)
class Speed:
    """What affects the duration of a run and not its results."""

    in_flight: int = 256
    deadline: float = 600.0

    def __post_init__(self) -> None:
        for name in ("in_flight", "deadline"):
            if getattr(self, name) <= 0:
                raise OptionError(f"{name}={getattr(self, name)!r} must be more than 0")


@dataclass(frozen=True, slots=True)
class Share:
    """The questions that one of several processes plays: each `of`-th one, from number `first` on."""

    first: int = 0
    of: int = 1


async def evaluate(
    settings: Settings,
    run: RunDirectory,
    speed: Speed = Speed(),
    progress: Progress | None = None,
    model: Model | None = None,
) -> dict[str, Any]:
    """Plays the episodes that are missing, and writes the summary; after an interruption, a second call continues.

    `model`: a loaded model, which stays open; by default, the settings' model is loaded and closed.
    """
    questions, agent = load_questions(settings.data), make_agent(settings.agent)
    with run.writing_episodes(asdict(settings)):
        await _play(settings, run, speed, questions, agent, model, progress, Share())
        return sum_up(run)


async def play_share(settings: Settings, run: RunDirectory, speed: Speed, model: Model | None, share: Share) -> None:
    """Plays those episodes of a share that are missing, in a run that has been begun (`RunDirectory.writing`)."""
    questions, agent = load_questions(settings.data), make_agent(settings.agent)
    await _play(settings, run, speed, questions, agent, model, None, share)


def sum_up(run: RunDirectory) -> dict[str, Any]:
    """Writes and returns `summary.json` from the directory's trajectories."""
    played = RecordedRun(run)
    signs = alarms(played.trajectories(), played.find, played.settings["max_searches"])
    summary = {"settings": _about(played.settings), **summarise(played.trajectories, played.find), "alarms": signs}
    run.write_json("summary.json", summary)
    return summary


def rollout_of(
    settings: Settings, speed: Speed, model: Model, agent: Agent, reward: RewardFunction | None = None
) -> Rollout:
    """The engine for the settings' episodes. `reward`: by default, the settings' own."""
    return Rollout(
        model,
        make_retriever(settings.retriever),
        reward or reward_for(settings),
        settings.sampling,
        min(speed.in_flight, agent.max_concurrency or speed.in_flight),
        speed.deadline,
        settings.max_tokens,
        settings.first_seed,
        settings.options,
    )


def reward_for(settings: Settings) -> Any:
    """The judge's score or the metric; without either, the data set's own metric."""
    if settings.judge:
        return make_reward(f"score:{settings.judge}")
    return make_reward(settings.metric or default_reward(settings.data))


def default_reward(data: str) -> str:
    name = read_spec(data).plain.partition(":")[0].partition("/")[0]
    found = _DEFAULTS.get(name.removeprefix("world-"))  # the world's tasks have LaMP's metrics
    if found is None:
        raise OptionError(
            f"{data!r} has no metric of its own: name one. --judge openai:MODEL asks a language model, --judge rubric "
            "looks for the phrases that aspects accept, --metric f1 (or exact, contains, rouge …) compares with a "
            "reference, --metric none leaves all unscored"
        )
    return found


_DEFAULTS = {
    "world": "score:rubric",
    "locomo": "f1",
    **dict.fromkeys(("lamp-1", "lamp-2"), "match"),
    "lamp-3": "mae",
    **dict.fromkeys(("lamp-4", "lamp-5", "lamp-6", "lamp-7", *(f"longlamp-{task}" for task in range(1, 5))), "rouge"),
}


async def _play(
    settings: Settings,
    run: RunDirectory,
    speed: Speed,
    questions: QuestionSet,
    agent: Agent,
    model: Model | None,
    progress: Progress | None,
    share: Share,
) -> None:
    asked = model or make_model(settings.model)
    try:
        await _play_all(settings, run, speed, questions, agent, asked, progress, share)
    finally:
        if model is None:
            await asked.close()


async def _play_all(
    settings: Settings,
    run: RunDirectory,
    speed: Speed,
    questions: QuestionSet,
    agent: Agent,
    model: Model,
    progress: Progress | None,
    share: Share,
) -> None:
    """Plays the baselines first, so that each personalised episode is recorded with its own."""
    done, baselines = set[str](), dict[Place, dict[str, Any]]()
    for trajectory in run.finished():
        done.add(trajectory.id)
        if trajectory.kind == "baseline":
            baselines[place_of(trajectory)] = as_baseline(trajectory)
    rollout, players = rollout_of(settings, speed, model, agent), players_of(agent)
    positions = range(share.first, min(len(questions), settings.limit or len(questions)), share.of)
    count = len(positions) * settings.seeds * len(players)
    tell = progress or (lambda *_: None)
    tell(len(done), count, None)
    with run.writer() as writer:
        for player in players:
            jobs = (job for job in jobs_of(settings, questions, player, positions) if job.id not in done)
            async with aclosing(rollout.run(jobs)) as ended:
                async for trajectory in ended:
                    _record(trajectory, baselines, writer)
                    done.add(trajectory.id)
                    tell(len(done), count, trajectory)


def players_of(agent: Agent) -> list[Agent]:
    """The agent, after the one that plays its baselines."""
    return [agent] if agent.name == "none" else [Unpersonalised(agent.instructions), agent]


def jobs_of(settings: Settings, questions: QuestionSet, player: Agent, positions: Iterable[int]) -> Iterator[Job]:
    """The episodes of a player on the questions at these positions."""
    for attempt in range(settings.seeds):
        for position in positions:
            question = swapped(questions[position], player.profile, questions)
            yield Job(question, player, attempt, settings.data)


def as_baseline(trajectory: Trajectory) -> dict[str, Any]:
    """What a personalised episode records of its baseline."""
    return {"answer": trajectory.answer, "score": score_of(trajectory)}


def _record(trajectory: Trajectory, baselines: dict[Place, dict[str, Any]], writer: TrajectoryWriter) -> None:
    if trajectory.kind == "baseline":
        baselines[place_of(trajectory)] = as_baseline(trajectory)
    else:
        trajectory.baseline = baselines.get(place_of(trajectory))
    writer.write(trajectory)


def _about(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A metric is told where one is named."""
    told = {name: settings[name] for name in ("agent", "model", "data", "retriever", "seeds", "limit", "judge")}
    return told | ({"metric": settings["metric"]} if settings.get("metric") else {})
