"""Recipes: all settings of a training run, typed, and validated before anything is loaded."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from ..envs.episode import HIT_CHARS
from ..envs.episode_options import checked_options
from ..errors import OptionError
from ..evaluation.evaluate import Settings, default_reward
from .advantage import Advantage, Mode, Scale
from .call_rewards import TurnRewards
from .settings import SettingsModel, load_settings

_SERVED = "generation.engine=vllm-server"


class TrainData(SettingsModel):
    """The spec of the data set to train on."""

    train: str

    @property
    def named(self) -> list[str]:
        """The specs of all data sets."""
        return [self.train]


class Data(TrainData):
    """The specs of the data sets for training, validation and the final tests."""

    validation: str | None = None
    test: dict[str, str] = Field(default_factory=dict)

    @property
    def named(self) -> list[str]:
        return [self.train, *([self.validation] if self.validation else []), *self.test.values()]


class EpisodeOptions(SettingsModel):
    """The options of `Episode`."""

    top_k: PositiveInt = 3
    max_searches: NonNegativeInt = 4
    hit_chars: Annotated[int, Field(ge=20)] = HIT_CHARS
    protocol: Literal["tags", "tools"] = "tags"
    tools: str | None = None  # such as search_profile+read_around; None: search_profile alone
    max_shown: PositiveInt | None = None  # documents shown in an episode; None: any number
    cites: bool = False
    costs: str | None = None  # of a call by tool: search_profile=0.01

    @model_validator(mode="after")
    def _possible(self) -> Self:
        try:
            _ = self.made
        except OptionError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def made(self) -> dict[str, Any]:
        """With the tools of their spec."""
        options = checked_options(self.model_dump())
        return {name: value for name, value in options.items() if value is not None}


class Group(SettingsModel):
    """Rollouts of one question: with the user's profile, and without."""

    personalised: Annotated[int, Field(ge=2)] = 4
    baseline: NonNegativeInt = 1

    @property
    def size(self) -> int:
        return self.personalised + self.baseline


class Generation(SettingsModel):
    """The engine that generates rollouts, and its sampling."""

    engine: Literal["transformers", "vllm", "vllm-server"] = "transformers"
    rows: PositiveInt = 64  # episodes decoded in one batch by the local engine
    temperature: PositiveFloat = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    turn_tokens: PositiveInt = 256
    max_tokens: PositiveInt = 1024  # generated in an episode
    in_flight: PositiveInt = 256
    deadline: PositiveFloat = 600.0
    vllm_server: str | None = None  # its URL; several with | between
    vllm_memory: Annotated[float, Field(gt=0, lt=1)] = 0.3  # share of the GPU


class StepCount(SettingsModel):
    """The number of training steps."""

    steps: PositiveInt


class Optimiser(StepCount):
    """Each step trains on `questions` groups."""

    questions: PositiveInt = 8
    rows: int | None = None  # sequences in a process's forward and backward pass; None: all
    learning_rate: PositiveFloat = 1e-6
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup: NonNegativeInt = 0
    weight_decay: NonNegativeFloat = 0.0
    max_grad_norm: PositiveFloat = 1.0
    clip: PositiveFloat = 0.2
    clip_high: float | None = None
    kl: NonNegativeFloat = 0.0
    loss: Literal["grpo", "bnpo", "dr_grpo", "dapo"] = "dapo"
    name: Literal["adamw_torch", "adamw_torch_fused", "adafactor", "sgd"] = "adamw_torch"


class Lora(SettingsModel):
    """Low-rank adapters; without them all weights are trained."""

    rank: PositiveInt = 16
    alpha: PositiveInt = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: str | list[str] = "all-linear"
    bits: Literal[4, 8, 16] = 16  # of the weights that the adapters stand beside; fewer than 16 need bitsandbytes


class Watch(SettingsModel):
    """How often a run is evaluated and saved, in steps; 0 is never."""

    evaluate: NonNegativeInt = 50
    questions: PositiveInt = 60  # from the validation set
    save: PositiveInt = 50
    keep: PositiveInt = 3
    choose_by: Literal["score", "evidence"] | None = None  # the figure of the best policy, which is then the final one
    stop_on_collapse: bool = False  # and restore the best policy, by score where `choose_by` names nothing else
    report_to: list[Literal["tensorboard", "trackio", "wandb"]] = Field(default_factory=list)


class Conclusion(SettingsModel):
    """What the trained policy is compared with on the test sets; the controls play with the starting weights."""

    controls: list[str] = Field(default_factory=lambda: ["none", "rag", "rag-random", "pr2"])
    oracle: str | None = None  # a model as an upper bound, such as scripted:oracle
    questions: PositiveInt = 120
    seeds: PositiveInt = 1
    temperature: NonNegativeFloat | None = None  # of all who play; None: that of training; 0: greedy


class BaseRecipe(SettingsModel):
    """How episodes are played: the settings that all methods share."""

    about: str
    model: str = "pilot"
    agent: str = "pr2"
    retriever: str = "bm25"
    judge: str | None = None  # scores the evaluations; None: the data set's own metric
    data: TrainData
    episode: EpisodeOptions = EpisodeOptions()
    generation: Generation = Generation()
    seed: int = 0

    def completed(self, recorded: Mapping[str, Any]) -> Mapping[str, Any]:
        """The settings of a run of this method, with the defaults of options that are newer than it."""
        try:
            return type(self).model_validate(recorded).model_dump()
        except ValueError:  # of another method, or of an option that is gone
            return recorded

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for holds, problem in self._problems():
            if holds:
                raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[tuple[bool, str]]:
        drawn = self.generation
        yield (
            drawn.engine == "vllm-server" and not drawn.vllm_server,
            "generation.engine=vllm-server needs generation.vllm_server, its URL",
        )
        yield (
            drawn.engine != "vllm-server" and drawn.vllm_server is not None,
            f"generation.vllm_server={drawn.vllm_server} is only used by generation.engine=vllm-server, "
            f"not by {drawn.engine}",
        )
        yield (
            drawn.turn_tokens > drawn.max_tokens,
            f"generation.turn_tokens={drawn.turn_tokens} is more than an episode's "
            f"generation.max_tokens={drawn.max_tokens}",
        )
        for data in self._scored():
            yield (
                self.judge is None and not _has_score(data),
                f"{data} has no metric of its own: set judge, such as openai:MODEL",
            )

    def _scored(self) -> Iterator[str]:
        """The data sets whose episodes the judge scores."""
        yield from ()

    def playing(self, data: str, limit: int | None, **changes: Any) -> Settings:
        """The settings of an evaluation that plays as in training."""
        settings = self.model_dump(include={"agent", "model", "judge", "retriever"})
        settings |= self.generation.model_dump(include={"temperature", "top_p", "turn_tokens", "max_tokens"})
        settings |= self.episode.model_dump()
        return Settings(**(settings | {"data": data, "limit": limit, "first_seed": self.seed} | changes))


class PolicyRecipe(BaseRecipe):
    """A recipe that trains a policy and then compares it with its controls."""

    data: Data
    optimiser: StepCount
    precision: Literal["float32", "bfloat16"] = "float32"
    gradient_checkpointing: bool = False
    lora: Lora | None = None
    conclusion: Conclusion = Conclusion()
    trl: dict[str, Any] = Field(default_factory=dict)  # any other field of TRL's own config

    def _scored(self) -> Iterator[str]:
        yield from self.data.test.values()


class Recipe(PolicyRecipe):
    """GRPO. With `train_baseline: masked` the baseline's tokens are left out of the loss."""

    method: Literal["grpo"] = "grpo"
    reward: str
    group: Group = Group()
    advantage: Advantage = "joint"
    scale_rewards: Scale = "group"  # what divides an advantage: its group's deviation, or nothing
    turn: TurnRewards = TurnRewards()  # with an advantage by turn
    train_baseline: Literal["masked", "positive", "all"] = "masked"
    resample_zero_variance: NonNegativeInt = 0  # times to resample a group whose scores are all equal
    optimiser: Optimiser
    watch: Watch = Watch()

    @property
    def mode(self) -> Mode:
        """The advantage of a member, without that of its turns."""
        return cast(Mode, self.advantage.removesuffix("+turn"))

    @property
    def by_turn(self) -> bool:
        return self.advantage.endswith("+turn")

    @property
    def sequences(self) -> int:
        """Of a group, in a step's batch. Masked baselines are not among those that vLLM's servers play."""
        pushed = self.generation.engine != "vllm-server" or self.train_baseline != "masked"
        return self.group.size if pushed else self.group.personalised

    @property
    def iterations(self) -> int:
        """The steps that learn from the same groups."""
        return int(self.trl.get("num_iterations") or 1)

    def can_resume(self, step: int) -> bool:
        """Whether a checkpoint of this step is enough: one between steps on the same groups has not the groups."""
        return step % self.iterations == 0 or step == self.optimiser.steps

    def problems_of(self, questions: int) -> Iterator[str]:
        """What is wrong with training on so many questions: TRL leaves out a step that they do not fill."""
        if questions < self.optimiser.questions and self.generation.engine != "vllm-server":
            yield (
                f"optimiser.questions={self.optimiser.questions} is more than data.train={self.data.train} has, which "
                f"is {questions}: ask for fewer a step, or give more data"
            )

    def _problems(self) -> Iterator[tuple[bool, str]]:
        yield from self._problems_of_groups()
        yield from self._problems_of_servers()
        yield from super()._problems()
        yield (
            bool(self.watch.evaluate) and self.data.validation is None,
            f"watch.evaluate={self.watch.evaluate} needs data.validation; set watch.evaluate=0 to do without",
        )
        yield (
            self.watch.save % self.iterations != 0,
            f"watch.save={self.watch.save} is no multiple of trl.num_iterations={self.iterations}, the steps on the "
            "same groups: a checkpoint between them could not be resumed",
        )
        yield (
            self.watch.stop_on_collapse and not self.watch.evaluate,
            "watch.stop_on_collapse restores the best checkpoint, which needs watch.evaluate above 0",
        )
        yield (
            self.watch.choose_by is not None and not self.watch.evaluate,
            f"watch.choose_by={self.watch.choose_by!r} compares evaluations, which needs watch.evaluate above 0",
        )

    def _scored(self) -> Iterator[str]:
        if self.watch.evaluate and self.data.validation is not None:
            yield self.data.validation
        yield from super()._scored()

    def _problems_of_servers(self) -> Iterator[tuple[bool, str]]:
        """What TRL's asynchronous trainer cannot do."""
        if self.generation.engine != "vllm-server":
            return
        yield (
            self.optimiser.kl > 0,
            f"{_SERVED}: it has no reference model, so optimiser.kl={self.optimiser.kl} cannot be",
        )
        yield self.optimiser.loss != "dapo", f"{_SERVED}: its loss is dapo, not optimiser.loss={self.optimiser.loss}"
        yield (
            self.generation.top_p < 1,
            f"{_SERVED}: vLLM's log-probabilities would be those of the nucleus and the trainer's not, so "
            f"generation.top_p={self.generation.top_p} must be 1",
        )
        yield self.by_turn, f"{_SERVED}: a sample has one advantage, not one a turn, so not advantage={self.advantage}"
        yield (
            self.resample_zero_variance > 0,
            f"{_SERVED}: groups are played once, so resample_zero_variance={self.resample_zero_variance} must be 0",
        )
        bits = 16 if self.lora is None else self.lora.bits
        yield bits < 16, f"{_SERVED}: its trainer loads the weights in {self.precision}, so lora.bits={bits} must be 16"
        yield (
            self.lora is None and "|" in str(self.generation.vllm_server),
            f"{_SERVED}: all weights can be sent to one server only; set lora for several",
        )

    def _problems_of_groups(self) -> Iterator[tuple[bool, str]]:
        rows, here = self.optimiser.rows, self.optimiser.questions * self.sequences
        yield (
            self.mode in ("delta", "code") and not self.group.baseline,
            f"advantage={self.advantage} needs baseline scores: group.baseline must be at least 1",
        )
        yield (
            self.mode == "code" and self.scale_rewards != "group",
            f"advantage={self.advantage} divides by deviations: scale_rewards={self.scale_rewards} cannot be",
        )
        yield (
            self.mode != "joint" and self.train_baseline != "masked",
            f"train_baseline={self.train_baseline} needs advantage=joint: {self.advantage} gives baselines none",
        )
        yield (
            self.turn != TurnRewards() and not self.by_turn,
            f"turn needs an advantage by turn: set advantage={self.advantage}+turn",
        )
        yield (
            self.train_baseline != "masked" and not self.group.baseline,
            f"train_baseline={self.train_baseline} needs a baseline: group.baseline must be at least 1",
        )
        yield (
            rows is not None and here % rows != 0,
            f"optimiser.rows={rows} does not divide a step's {here} sequences "
            f"({self.optimiser.questions} questions x {self.sequences})",
        )


def load_recipe(path: str | Path, changes: Sequence[str] = ()) -> Recipe:
    """Load a GRPO recipe as `load_settings` does."""
    return load_settings(Recipe, path, changes)


def _has_score(data: str) -> bool:
    try:
        default_reward(data)
    except OptionError:
        return False
    return True
