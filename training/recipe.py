"""A recipe: all that decides a training run, typed, and refused before anything is loaded where it cannot work."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..envs.errors import OptionError
from .advantage import Mode

Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """A group of settings; a misspelt one is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


Settings = TypeVar("Settings", bound=Part)


class Data(Part):
    """Specs: what is learned from, what is looked at meanwhile, and what the report ends with."""

    train: str
    validation: str | None = None
    test: dict[str, str] = {}


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


class Optimiser(Part):
    """One step learns from `questions` groups."""

    steps: Count
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
    name: str = "adamw_torch"


class Lora(Part):
    """Low-rank adapters instead of all weights."""

    rank: Count = 16
    alpha: Count = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: str | list[str] = "all-linear"


class Watch(Part):
    """How often a run looks at itself and keeps what it has; 0 is never."""

    evaluate: Whole = 50
    questions: Count = 60  # of the validation set
    save: Count = 50
    keep: Count = 3
    stop_on_collapse: bool = False  # and fall back to the best checkpoint
    report_to: list[Literal["tensorboard", "trackio", "wandb"]] = []


class Conclusion(Part):
    """What the trained policy is set beside at the end, on every test set; the controls play the starting policy."""

    controls: list[str] = ["none", "rag", "rag-random", "pr2"]
    oracle: str | None = None  # a model that shows what can be had, such as scripted:oracle
    questions: Count = 120
    seeds: Count = 1


class Recipe(Part):
    """Where `train_baseline` is `masked`, the baseline's tokens are left out of the loss."""

    about: str
    method: Literal["grpo"] = "grpo"
    model: str = "pilot"
    agent: str = "pr2"
    retriever: str = "bm25"
    reward: str
    judge: str | None = None  # whose scores evaluations report; else what the data is scored by
    data: Data
    episode: EpisodeOptions = EpisodeOptions()
    group: Group = Group()
    advantage: Mode = "joint"
    train_baseline: Literal["masked", "positive", "all"] = "masked"
    resample_zero_variance: Whole = 0  # how often a group without variance is drawn anew
    generation: Generation = Generation()
    optimiser: Optimiser
    precision: Literal["float32", "bfloat16"] = "float32"
    gradient_checkpointing: bool = False
    lora: Lora | None = None
    watch: Watch = Watch()
    conclusion: Conclusion = Conclusion()
    seed: int = 0

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for holds, problem in self._problems():
            if holds:
                raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[tuple[bool, str]]:
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
            rows is not None and here % rows != 0,
            f"optimiser.rows={rows} does not divide a step's {here} sequences "
            f"({self.optimiser.questions} questions x {self.group.size})",
        )
        yield (
            self.generation.engine == "vllm-server" and not self.generation.vllm_server,
            "generation.engine=vllm-server needs generation.vllm_server, its address",
        )
        yield (
            bool(self.watch.evaluate) and self.data.validation is None,
            "watch.evaluate needs data.validation; say evaluate: 0 to do without",
        )


@dataclass(frozen=True, slots=True)
class Source:
    """A recipe as it stands in a file."""

    name: str
    text: str


def load_recipe(path: str | Path, changes: Sequence[str] = ()) -> Recipe:
    """From a file, or from one of those that come with the package by its name; `changes` are `key.key=value`."""
    return load_settings(Recipe, path, changes)


def load_settings(kind: type[Settings], path: str | Path, changes: Sequence[str] = ()) -> Settings:
    """Those of any kind of training, as `load_recipe` finds them."""
    source = _source(path)
    try:
        content = yaml.safe_load(source.text)
    except yaml.YAMLError as error:
        raise OptionError(f"{source.name} is no YAML: {error}") from error
    if not isinstance(content, dict):
        raise OptionError(f"{source.name} holds {type(content).__name__}, not a recipe")
    for change in changes:
        _apply(content, change)
    return _checked(kind, content, source.name)


def checked(content: Mapping[str, Any], name: str) -> Recipe:
    return _checked(Recipe, content, name)


def _checked(kind: type[Settings], content: Mapping[str, Any], name: str) -> Settings:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        told = [_told(kind, dict(problem)) for problem in error.errors()]
        raise OptionError(f"{name}: " + "; ".join(told)) from None


def recipe_names() -> list[str]:
    """Those that come with the package."""
    return sorted(file.name.removesuffix(".yaml") for file in files(_RECIPES).iterdir() if file.name.endswith(".yaml"))


_RECIPES = f"{__name__.rpartition('.')[0]}.recipes"


def _source(path: str | Path) -> Source:
    file = Path(path)
    if file.is_file():
        return Source(str(path), file.read_text("utf-8"))
    name = str(path).rpartition("/")[2].removesuffix(".yaml")
    if name in recipe_names():
        return Source(f"{name}.yaml", files(_RECIPES).joinpath(f"{name}.yaml").read_text("utf-8"))
    near = get_close_matches(name, recipe_names(), 1)
    hint = (
        f"; did you mean {near[0]!r}?" if near else f"; those that come with the package: {', '.join(recipe_names())}"
    )
    raise OptionError(f"no recipe {str(path)!r}{hint}")


def _apply(content: dict[str, Any], change: str) -> None:
    key, equals, value = change.partition("=")
    if not equals:
        raise OptionError(f"{change!r} changes nothing: write key=value, such as optimiser.steps=20")
    *folders, name = key.split(".")
    for folder in folders:
        content = content.setdefault(folder, {})
        if not isinstance(content, dict):
            raise OptionError(f"{change!r}: {folder} is a value, not a group of settings")
    content[name] = yaml.safe_load(value)


def _told(kind: type[Part], problem: Mapping[str, Any]) -> str:
    """One of pydantic's findings, with the value and, for a misspelt key, the near-miss."""
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _fields_at(kind, problem["loc"][:-1])
        near = get_close_matches(str(problem["loc"][-1]), known, 1)
        return f"no setting {place!r}" + (f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}")
    if problem["type"] == "missing":
        return f"{place} is missing"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{place}={problem['input']!r}: {message}" if place else message


def _fields_at(kind: type[Part], place: Sequence[Any]) -> list[str]:
    part: type[BaseModel] = kind
    for name in place:
        annotation = part.model_fields[name].annotation
        found = [kind for kind in (annotation, *getattr(annotation, "__args__", ())) if isinstance(kind, type)]
        part = next(kind for kind in found if issubclass(kind, BaseModel))
    return list(part.model_fields)
