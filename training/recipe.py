"""A recipe: all that decides a training run, typed, and refused before anything is loaded where it cannot work."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ..errors import OptionError
from ..evaluation.evaluate import Settings, default_reward
from .advantage import Mode
from .settings import Count, NotNegative, Part, Positive, Whole, check_settings, load_settings


class LearnedFrom(Part):
    """The spec of the data set that questions are drawn from."""

    train: str

    @property
    def named(self) -> list[str]:
        """All data sets."""
        return [self.train]


class Data(LearnedFrom):
    """Specs: what is learned from, what is looked at meanwhile, and what the report ends with."""

    validation: str | None = None
    test: dict[str, str] = Field(default_factory=dict)

    @property
    def named(self) -> list[str]:
        return [self.train, *([self.validation] if self.validation else []), *self.test.values()]


class EpisodeOptions(Part):
    """Those of `Episode`."""

    top_k: Count = 3
    max_searches: Whole = 4
    hit_chars: Annotated[int, Field(ge=20)] = 2000
    protocol: Literal["tags", "tools"] = "tags"


class Group(Part):
    """Attempts at one question: with its asker's history, and without."""

    personalised: Annotated[int, Field(ge=2)] = 4
    baseline: Whole = 1

    @property
    def size(self) -> int:
        return self.personalised + self.baseline


class Generation(Part):
    """Who writes the rollouts, and how they are drawn."""

    engine: Literal["transformers", "vllm", "vllm-server"] = "transformers"
    rows: Count = 64  # episodes that the local engine decodes together
    temperature: Positive = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    turn_tokens: Count = 256
    max_tokens: Count = 1024  # of the policy, in an episode
    in_flight: Count = 256
    deadline: Positive = 600.0
    vllm_server: str | None = None  # its address
    vllm_memory: Annotated[float, Field(gt=0, lt=1)] = 0.3  # share of the GPU


class Steps(Part):
    """How long it learns."""

    steps: Count


class Optimiser(Steps):
    """One step learns from `questions` groups."""

    questions: Count = 8
    rows: int | None = None  # sequences in one forward and backward pass of a process; all of them where none is said
    learning_rate: Positive = 1e-6
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup: Whole = 0
    weight_decay: NotNegative = 0.0
    max_grad_norm: Positive = 1.0
    clip: Positive = 0.2
    clip_high: float | None = None
    kl: NotNegative = 0.0
    loss: Literal["grpo", "bnpo", "dr_grpo", "dapo"] = "dapo"
    name: Literal["adamw_torch", "adamw_torch_fused", "adafactor", "sgd"] = "adamw_torch"


class Lora(Part):
    """Low-rank adapters instead of all weights."""

    rank: Count = 16
    alpha: Count = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: str | list[str] = "all-linear"
    bits: Literal[4, 8, 16] = 16  # of the weights that the adapters stand beside; fewer than 16 need bitsandbytes


class Watch(Part):
    """How often a run looks at itself and keeps what it has; 0 is never."""

    evaluate: Whole = 50
    questions: Count = 60  # of the validation set
    save: Count = 50
    keep: Count = 3
    stop_on_collapse: bool = False  # and fall back to the best checkpoint
    report_to: list[Literal["tensorboard", "trackio", "wandb"]] = Field(default_factory=list)


class Conclusion(Part):
    """What the trained policy is set beside at the end, on every test set; the controls play the starting policy."""

    controls: list[str] = Field(default_factory=lambda: ["none", "rag", "rag-random", "pr2"])
    oracle: str | None = None  # a model that shows what can be had, such as scripted:oracle
    questions: Count = 120
    seeds: Count = 1


class Player(Part):
    """Who plays the episodes that something is learned from, and how."""

    about: str
    model: str = "pilot"
    agent: str = "pr2"
    retriever: str = "bm25"
    judge: str | None = None  # whose scores evaluations report; else what the data is scored by
    data: LearnedFrom
    episode: EpisodeOptions = EpisodeOptions()
    generation: Generation = Generation()
    seed: int = 0

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
            "generation.engine=vllm-server needs generation.vllm_server, its address",
        )
        yield (
            drawn.engine != "vllm-server" and drawn.vllm_server is not None,
            f"generation.vllm_server={drawn.vllm_server} is asked by generation.engine=vllm-server alone, "
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
                f"{data} has no score of its own: name an evaluator, judge: openai:MODEL",
            )

    def _scored(self) -> Iterator[str]:
        """The data sets whose episodes are scored by the judge."""
        yield from ()

    def playing(self, data: str, limit: int | None, **changes: Any) -> Settings:
        """An evaluation that plays as the policy is trained."""
        drawn = self.generation
        settings: dict[str, Any] = {
            "agent": self.agent,
            "model": self.model,
            "data": data,
            "judge": self.judge,
            "retriever": self.retriever,
            "limit": limit,
            "first_seed": self.seed,
            "temperature": drawn.temperature,
            "top_p": drawn.top_p,
            "turn_tokens": drawn.turn_tokens,
            "max_tokens": drawn.max_tokens,
            "top_k": self.episode.top_k,
            "max_searches": self.episode.max_searches,
            "protocol": self.episode.protocol,
        }
        return Settings(**(settings | changes))


class Training(Player):
    """What ends with a policy, which is then set beside its controls."""

    data: Data
    optimiser: Steps
    precision: Literal["float32", "bfloat16"] = "float32"
    gradient_checkpointing: bool = False
    lora: Lora | None = None
    conclusion: Conclusion = Conclusion()
    trl: dict[str, Any] = Field(default_factory=dict)  # any other field of TRL's own config

    def _scored(self) -> Iterator[str]:
        yield from self.data.test.values()


class Recipe(Training):
    """Where `train_baseline` is `masked`, the baseline's tokens are left out of the loss."""

    method: Literal["grpo"] = "grpo"
    reward: str
    group: Group = Group()
    advantage: Mode = "joint"
    train_baseline: Literal["masked", "positive", "all"] = "masked"
    resample_zero_variance: Whole = 0  # how often a group without variance is drawn anew
    optimiser: Optimiser
    watch: Watch = Watch()

    def _problems(self) -> Iterator[tuple[bool, str]]:
        yield from self._problems_of_groups()
        yield from super()._problems()
        yield (
            bool(self.watch.evaluate) and self.data.validation is None,
            "watch.evaluate needs data.validation; say watch.evaluate=0 to do without",
        )
        yield (
            self.watch.stop_on_collapse and not self.watch.evaluate,
            "watch.stop_on_collapse falls back to the best checkpoint, which only watch.evaluate finds",
        )

    def _scored(self) -> Iterator[str]:
        if self.watch.evaluate and self.data.validation is not None:
            yield self.data.validation
        yield from super()._scored()

    def _problems_of_groups(self) -> Iterator[tuple[bool, str]]:
        rows, here = self.optimiser.rows, self.optimiser.questions * self.group.size
        yield (
            self.advantage in ("delta", "code") and not self.group.baseline,
            f"advantage={self.advantage} sets scores beside a baseline: group.baseline must be at least 1",
        )
        yield (
            self.advantage != "joint" and self.train_baseline != "masked",
            f"train_baseline={self.train_baseline} needs advantage=joint: in {self.advantage} baselines have none",
        )
        yield (
            self.train_baseline != "masked" and not self.group.baseline,
            f"train_baseline={self.train_baseline} needs a baseline: group.baseline must be at least 1",
        )
        yield (
            rows is not None and here % rows != 0,
            f"optimiser.rows={rows} does not divide a step's {here} sequences "
            f"({self.optimiser.questions} questions x {self.group.size})",
        )


def load_recipe(path: str | Path, changes: Sequence[str] = ()) -> Recipe:
    """From wherever `load_settings` finds one."""
    return load_settings(Recipe, path, changes)


def checked(content: Mapping[str, Any], name: str) -> Recipe:
    return check_settings(Recipe, content, name)


def _has_score(data: str) -> bool:
    try:
        default_reward(data)
    except OptionError:
        return False
    return True
