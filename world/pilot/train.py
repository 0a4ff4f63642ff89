"""Trains the pilot: demonstrations, a tokenizer, a small model from scratch, and its model card."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from multiprocessing import get_context
from os.path import commonprefix
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from ...agents.models.hf import HFModel
from ...envs.data import QuestionSet, load_questions
from ...envs.question import Question
from ...envs.trajectory import Segment, Trajectory
from ...evaluation.evaluate import Settings, evaluate
from ...evaluation.run import RunDirectory
from ...training.policy import save_policy
from ...training.settings import Fraction, SettingsModel, load_settings
from ...training.sft import Example, examples_of, fine_tune
from .card import card
from .demonstrations import Habits, demonstrate, lessons
from .init import Shape, new_model
from .model import FOLDER
from .rewording import Rewording
from .short_lessons import ShortLessons, ShortLessonSettings
from .tokenizer import make_tokenizer

RECIPE = Path(__file__).with_name("recipe.yaml")
AGENTS = ("pr2", "none", "rag", "plan")  # scored in the card


class Optimiser(SettingsModel):
    """Settings of TRL's SFTTrainer."""

    batch: PositiveInt
    learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat
    warmup: NonNegativeInt
    precision: Literal["float32", "bfloat16"]
    sharpness: PositiveFloat  # logit scale of the finished model: unlikely tokens derail long transcripts


class FlawedLessons(SettingsModel):
    """Demonstrations with many flaws. They come last: before the others they keep the model from learning to read."""

    data: str
    habits: Habits
    learning_rate: PositiveFloat


class Scoring(SettingsModel):
    """The questions that the card's scores are measured on."""

    data: str
    limit: PositiveInt
    seeds: PositiveInt


class PilotRecipe(SettingsModel):
    """All settings that determine the pilot."""

    about: str
    method: Literal["pilot"]
    seed: int
    data: str
    words: tuple[str, ...] = ()  # further data sets whose words become tokens, for fine-tuning on them
    agents: dict[str, Fraction] = Field(min_length=1)
    habits: Habits
    shuffled: Fraction  # share of searches with shuffled hits
    reworded: Fraction  # share of lessons with substituted words
    asked: Fraction  # largest share of substituted words in a question
    shape: Shape
    short: ShortLessonSettings
    last: FlawedLessons
    optimiser: Optimiser
    score: Scoring


Taught = tuple[list[Segment], Question]  # a transcript to train on


@dataclass(frozen=True, slots=True)
class TrainedPilot:
    """A model, its tokenizer, and the size of its training."""

    model: Any
    tokenizer: Any
    lessons: int
    tokens: int


def make_pilot(recipe: PilotRecipe, workplace: Path, steps: int = -1) -> TrainedPilot:
    """Everything except the scores. `steps` limits each phase."""
    import torch

    rng, short, last = Random(recipe.seed), recipe.short, recipe.last
    faultless = Habits(tempted=recipe.habits.tempted)
    with _processes() as processes:
        plays = [
            processes.submit(_played, recipe.data, recipe.habits, recipe.agents, recipe.seed, recipe.shuffled),
            processes.submit(_played, recipe.data, faultless, {"pr2": 1.0}, recipe.seed + 1, recipe.shuffled),
            processes.submit(_played, last.data, last.habits, recipe.agents, recipe.seed + 2, recipe.shuffled),
        ]
        played, right, played_last = (play.result() for play in plays)
    questions = load_questions(recipe.data)
    taught, clumsy = _lessons(played, questions), _lessons(played_last, load_questions(last.data))
    tokenizer = _tokenizer([said for said, _ in taught], recipe.words)
    rewording = Rewording((said for said, _ in taught), recipe.asked)
    first = ShortLessons(right, questions, rewording, short, rng)

    def whole(transcripts: Sequence[Taught]) -> list[Example]:
        said = [rewording.apply(*one, rng) if rng.random() < recipe.reworded else one[0] for one in transcripts]
        return examples_of(said, tokenizer, [tokenizer.eos_token_id])

    def drawn(count: int, reworded: float) -> list[Example]:
        return examples_of(first.drawn(count, reworded), tokenizer)

    examples, batch, rate = whole(taught), recipe.optimiser.batch, recipe.optimiser.learning_rate
    courses = (
        (drawn(short.copying * batch, 1.0), "constant_with_warmup", rate),
        (drawn(short.steps * batch, recipe.reworded), "cosine", rate),
        ([*examples, *drawn(round(short.kept * len(examples)), recipe.reworded)], "cosine", rate),
    )
    flawed = (whole(clumsy), "cosine", last.learning_rate)
    model = new_model(recipe.shape, tokenizer, recipe.seed)
    for course, schedule, at_rate in (*courses, flawed):
        settings = {**_settings(recipe), "max_steps": steps, "lr_scheduler_type": schedule, "learning_rate": at_rate}
        fine_tune(model, tokenizer, course, workplace, **settings)
    with torch.no_grad():
        model.lm_head.weight *= recipe.optimiser.sharpness
    examples += flawed[0]
    return TrainedPilot(model, tokenizer, len(examples), sum(len(one.input_ids) for one in examples))


def _processes() -> ProcessPoolExecutor:
    """One process for each core, as one player or small model does not fill more."""
    return ProcessPoolExecutor(os.cpu_count(), get_context("spawn"))


def _played(data: str, habits: Habits, agents: Mapping[str, float], seed: int, shuffled: float) -> list[Trajectory]:
    return demonstrate(load_questions(data), habits, agents, seed, shuffled)


def _lessons(played: Sequence[Trajectory], questions: QuestionSet) -> list[Taught]:
    """The transcripts of the episodes, each with its question."""
    return [(said, questions.find(one.question_id)) for one in played for said in lessons(one, questions)]


def _tokenizer(transcripts: Sequence[Sequence[Segment]], words: Sequence[str]) -> Any:
    """A tokenizer for the transcripts and for the words of other data sets."""
    others = [load_questions(spec) for spec in words]
    return make_tokenizer(
        chain(
            ("".join(segment.text for segment in transcript) for transcript in transcripts),
            (text for there in others for question in there for text in _texts(question)),
        ),
        [commonprefix([question.text for question in there]).rstrip() for there in others],  # noqa: RUF071 (texts, not paths)
    )


def _texts(question: Question) -> list[str]:
    """The texts of a question, with the leading space that they have in a transcript."""
    posts = [document.text for document in question.profile.documents]
    return [f" {text}" for text in (question.text, *posts, question.rubric.reference or "")]


def _settings(recipe: PilotRecipe) -> dict[str, Any]:
    """The settings under TRL's names."""
    optimiser = recipe.optimiser
    return {
        "seed": recipe.seed,
        "num_train_epochs": 1,
        "per_device_train_batch_size": optimiser.batch,
        "weight_decay": optimiser.weight_decay,
        "warmup_steps": optimiser.warmup,
        "adam_beta2": 0.98,
        "optim": "adamw_torch_fused",
        "bf16": optimiser.precision == "bfloat16",
        "logging_steps": 50,
    }


def save(made: TrainedPilot, folder: Path) -> None:
    """Save in 16 bits, without settings of its training."""
    import torch

    model = made.model.to(torch.bfloat16)
    model.config._attn_implementation = None
    save_policy(model, made.tokenizer, folder)
    (folder / "generation_config.json").unlink(missing_ok=True)


def scores(folder: Path, scoring: Scoring) -> dict[str, Any]:
    """The run summary of the saved model as each agent."""
    with _processes() as processes:
        return dict(zip(AGENTS, processes.map(partial(_score, folder, scoring), AGENTS), strict=True))


def _score(folder: Path, scoring: Scoring, agent: str) -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)
    settings = Settings(agent, "pilot", scoring.data, limit=scoring.limit, seeds=scoring.seeds)
    with TemporaryDirectory() as run:
        return asyncio.run(evaluate(settings, RunDirectory(run), model=HFModel.load(str(folder))))


def _about(recipe: PilotRecipe, made: TrainedPilot) -> dict[str, Any]:
    """The facts for the card."""
    shape, size = recipe.shape, (FOLDER / "model.safetensors").stat().st_size
    heads = f"{shape.heads} heads of {shape.width // shape.heads}"
    return {
        "architecture": f"Qwen3: {shape.layers} layers of {shape.width}, {heads}, feed-forward {shape.feed_forward}",
        "positions": f"{shape.positions}, RoPE base {shape.rope_base:g}",
        "weights": f"{made.model.num_parameters():,}, {size / 1e6:.1f} MB in bfloat16",
        "tokens": f"{len(made.tokenizer):,}: words, the syllables of names, bytes for all else",
        "data": f"`{recipe.data}`, then `{recipe.last.data}`: {made.lessons:,} transcripts, {made.tokens:,} tokens",
        "seed": recipe.seed,
        "scored on": f"`{recipe.score.data}`, {recipe.score.limit} questions, {recipe.score.seeds} sampling seeds",
        "licence": "Apache-2.0",
        "made by": "`make pilot` (`world/pilot/recipe.yaml`)",
    }


def main(changes: Sequence[str]) -> None:
    """`python -m profilegym.world.pilot.train [key=value …]` writes the pilot and its card into the package."""
    recipe = load_settings(PilotRecipe, RECIPE, changes)
    with TemporaryDirectory() as workplace:
        made = make_pilot(recipe, Path(workplace))
    save(made, FOLDER)
    flaws = (recipe.habits.model_dump(), recipe.last.habits.model_dump())
    told = card(_about(recipe, made), *flaws, scores(FOLDER, recipe.score))
    (FOLDER / "README.md").write_text(told, "utf-8")
    print(told)  # noqa: T201 (what was asked for)


if __name__ == "__main__":
    main(sys.argv[1:])
