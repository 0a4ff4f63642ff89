"""Supervised fine-tuning on lessons: episodes of a scripted player, of another model, or of an earlier run."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from math import inf
from pathlib import Path
from random import Random
from shutil import rmtree
from time import perf_counter
from typing import Any, Literal, Self

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from .._util.files import whole_folder
from ..envs.trajectory import Trajectory
from ..errors import DataError
from ..evaluation.evaluate import Speed, evaluate
from ..evaluation.late_verdicts import with_late_verdicts
from ..evaluation.recorded_run import RecordedRun
from ..evaluation.run import RunDirectory
from ..evaluation.summary import evidence_recall, score_of
from .interruption import CHECKPOINTS, Interruption, Stopped, last_checkpoint, signals
from .metrics import METRICS, MetricsWriter, StepCallback
from .policy import FINAL, adapters, load_policy, save_policy
from .recipe import Data, PolicyRecipe, StepCount
from .runtime import quieten
from .settings import Fraction, SettingsModel
from .sft import examples_of, fine_tune
from .tagging import Tagging, tag

PLAYED, TAGGED = "played", "tagged"
_SAVED_EVERY = 300.0  # seconds between two checkpoints, or more:
_SAVING = 0.05  # the share of the time that may go into saving


class Lessons(SettingsModel):
    """Episodes of `run`, or those that the model `player` plays as `agent` on `data.train`."""

    run: str | None = None
    player: str | None = None
    agent: str | None = None  # default: the recipe's agent
    limit: PositiveInt | None = None
    attempts: PositiveInt = 1  # at each question
    choose_by: Literal["score", "evidence"] | None = None  # of the attempts at a question, only the best is kept
    labeller: str | None = None  # a model that tags the thoughts with TagPR's steps
    least: float | None = None  # lowest score of an episode to train on
    without: Fraction = 1.0  # the share that is kept of those without the profile

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.run is None) == (self.player is None):
            raise ValueError("give either run, a directory, or player, a model")
        if self.run is not None and self.attempts > 1:
            raise ValueError(f"attempts={self.attempts} are of a player; the run {self.run} has those that it has")
        return self


class SFTOptimiser(StepCount):
    """Each step trains on `batch` lessons."""

    batch: PositiveInt = 16
    rows: PositiveInt | None = None  # lessons in a forward and backward pass; None: all of a batch
    learning_rate: PositiveFloat = 1e-5
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup: NonNegativeInt = 0


class SFTRecipe(PolicyRecipe):
    """Fine-tunes on lessons; the loss covers the policy's tokens, not the environment's."""

    method: Literal["sft"]
    data: Data
    lessons: Lessons
    optimiser: SFTOptimiser

    def _problems(self) -> Iterator[tuple[bool, str]]:
        yield from super()._problems()
        rows, batch = self.optimiser.rows, self.optimiser.batch
        yield (
            rows is not None and batch % rows != 0,
            f"optimiser.rows={rows} does not divide a batch of {batch} lessons",
        )

    def _scored(self) -> Iterator[str]:
        if self.lessons.player is not None:
            yield self.data.train
        yield from super()._scored()


def train_sft(recipe: SFTRecipe, out: Path, on_step: StepCallback) -> None:
    """Train to the last step, from the newest checkpoint if there is one."""
    with RunDirectory(out).writing(recipe.model_dump(), recipe.completed):
        if not (out / FINAL).exists():
            _learn(recipe, out, on_step)


def _learn(recipe: SFTRecipe, out: Path, on_step: StepCallback) -> None:
    quieten()
    interruption = Interruption()
    with MetricsWriter(out / METRICS) as metrics:
        policy = load_policy(recipe.model, recipe.precision, recipe.lora)
        end = [policy.tokenizer.eos_token_id]
        played = lessons(recipe, out)
        segments, tools = (lesson.segments for lesson in played), (lesson.tools for lesson in played)
        examples = examples_of(segments, policy.tokenizer, end, policy.template, tools)
        saver, place, lora = _saver(interruption), out / CHECKPOINTS, adapters(recipe.lora)
        course = ([_teller(metrics, on_step), saver], lora, last_checkpoint(out))
        with signals(interruption):
            learned = fine_tune(policy.model, policy.tokenizer, examples, place, *course, **_settings(recipe))
        if saver.stopped_at is not None:
            raise Stopped(f"stopped by {interruption.by}", saver.stopped_at, out)
        with whole_folder(out / FINAL) as unfinished:
            save_policy(learned, policy.tokenizer, unfinished)
        rmtree(place, ignore_errors=True)


def lessons(recipe: SFTRecipe, out: Path) -> list[Trajectory]:
    """The episodes to train on, all of them answered; played and labelled first where the recipe asks for it."""
    asked = recipe.lessons
    run = played = Path(asked.run) if asked.run is not None else _played(recipe, out / PLAYED)
    if asked.labeller is not None:
        tag(Tagging(str(played), asked.labeller, asked.least), out / TAGGED)
        run = out / TAGGED
    directory = RunDirectory(run)
    finished = with_late_verdicts(directory, directory.finished())
    found = [one for one in finished if one.ended == "answered" and _scores_enough(one, asked)]
    if asked.choose_by is not None:
        found = list(_best(found, RecordedRun(RunDirectory(played)), asked.choose_by))
    found = [one for one in found if one.kind != "baseline" or Random(one.id).random() < asked.without]
    if not found:
        least = "" if asked.least is None else f" and scored at least lessons.least={asked.least:g}"
        without = (
            "" if asked.without == 1 else f"; of those without the profile lessons.without={asked.without:g} is kept"
        )
        raise DataError(f"{run} has no lessons: no episode was answered{least}{without}")
    return found


def _best(found: Iterable[Trajectory], run: RecordedRun, by: Literal["score", "evidence"]) -> Iterator[Trajectory]:
    """The best attempt at each question, with the profile and without; of equals the shortest, then the first."""

    def rank(lesson: Trajectory) -> tuple[float, int]:
        figure = score_of(lesson) if by == "score" else evidence_recall(lesson, run.find(lesson.question_id))
        return (-inf if figure is None else figure, -len(lesson.searches))

    questions: dict[tuple[str, str], list[Trajectory]] = {}
    for lesson in found:
        questions.setdefault((lesson.question_id, lesson.kind), []).append(lesson)
    return (max(attempts, key=rank) for attempts in questions.values())


def _played(recipe: SFTRecipe, out: Path) -> Path:
    """Play each question with the profile and without."""
    asked = recipe.lessons
    who: dict[str, Any] = {"model": asked.player, "agent": asked.agent or recipe.agent, "seeds": asked.attempts}
    settings = recipe.playing(recipe.data.train, asked.limit, **who)
    asyncio.run(evaluate(settings, RunDirectory(out), Speed(recipe.generation.in_flight, recipe.generation.deadline)))
    return out


def _scores_enough(lesson: Trajectory, asked: Lessons) -> bool:
    score = score_of(lesson)
    return asked.least is None or (score is not None and score >= asked.least)


def _settings(recipe: SFTRecipe) -> dict[str, Any]:
    """The settings under TRL's names."""
    fitting = recipe.optimiser
    return {
        "seed": recipe.seed,
        "max_steps": fitting.steps,
        "per_device_train_batch_size": fitting.rows or fitting.batch,
        "gradient_accumulation_steps": fitting.batch // (fitting.rows or fitting.batch),
        "learning_rate": fitting.learning_rate,
        "lr_scheduler_type": {"constant": "constant_with_warmup"}.get(fitting.schedule, fitting.schedule),
        "warmup_steps": fitting.warmup,
        "bf16": recipe.precision == "bfloat16",
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "logging_steps": 1,
        "disable_tqdm": True,
        **recipe.trl,
    }


def _teller(metrics: MetricsWriter, on_step: StepCallback) -> Any:
    """A callback that reports each step; transformers logs the loss of GRPO and of fine-tuning under one name."""
    from transformers import TrainerCallback

    class Teller(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any], **_: Any) -> None:
            if "loss" in logs:
                found = {"lesson_loss": logs["loss"], "learning_rate": logs["learning_rate"]}
                metrics.write(state.global_step, found)
                on_step(state.global_step, found)

    return Teller()


def _saver(interruption: Interruption) -> Any:
    """A callback that saves a checkpoint every few minutes, and one when the run is asked to stop."""
    from transformers import TrainerCallback

    class Saver(TrainerCallback):  # type: ignore[misc]
        stopped_at: int | None = None

        def __init__(self) -> None:
            self._asked, self._next = 0.0, perf_counter() + _SAVED_EVERY

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step >= state.max_steps:
                return
            self._asked = perf_counter()
            control.should_save = interruption.by is not None or self._asked > self._next
            if interruption.by is not None:
                control.should_training_stop, self.stopped_at = True, state.global_step

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            now = perf_counter()
            self._next = now + max(_SAVED_EVERY, (now - self._asked) / _SAVING)

    return Saver()
