"""Fine-tunes a policy on lessons: episodes of a scripted player, of another model, or of a run that is there."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from shutil import rmtree
from typing import Any, Literal, Self

from pydantic import model_validator

from ..envs.trajectory import Trajectory
from ..errors import DataError
from ..evaluation.evaluate import Speed, evaluate
from ..evaluation.run import RunDirectory
from ..evaluation.summary import score_of
from .metrics import METRICS, MetricsWriter
from .policy import FINAL, adapters, load_policy, save_policy
from .quiet import quieten
from .recipe import Data, Steps, Training
from .settings import Count, Part, Positive, Whole
from .sft import examples_of, fine_tune
from .tagging import Settings as Tagging
from .tagging import tag

Tell = Callable[[int, Mapping[str, Any]], None]
PLAYED, TAGGED = "played", "tagged"


class Lessons(Part):
    """The episodes of a run; or those that `player`, a model, plays as `agent` on `data.train`."""

    run: str | None = None
    player: str | None = None
    agent: str | None = None  # else the one that learns
    limit: Count | None = None
    labeller: str | None = None  # a model that makes TagPR's steps of the thoughts; else they stay as they are
    least: float | None = None  # what an episode has to score to be learned from

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.run is None) == (self.player is None):
            raise ValueError("give run, a directory, or player, a model: one of the two")
        return self


class Fitting(Steps):
    """One step learns from `batch` lessons."""

    batch: Count = 16
    learning_rate: Positive = 1e-5
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup: Whole = 0


class FineTuning(Training):
    """Learns to say what the lessons say, and nothing of what the environment says in them."""

    method: Literal["sft"]
    data: Data
    lessons: Lessons
    optimiser: Fitting

    def _scored(self) -> Iterator[str]:
        if self.lessons.player is not None:
            yield self.data.train
        yield from super()._scored()


def teach(recipe: FineTuning, out: Path, tell: Tell) -> None:
    """To the last step. Killed and called again, it keeps the lessons and begins the first step anew."""
    if (out / FINAL).exists():
        return
    quieten()
    with RunDirectory(out).writing(recipe.model_dump()), MetricsWriter(out / METRICS) as metrics:
        policy = load_policy(recipe.model, recipe.precision, recipe.lora)
        end = [policy.tokenizer.eos_token_id]
        segments = (lesson.segments for lesson in lessons(recipe, out))
        examples = examples_of(segments, policy.tokenizer, end, policy.template)
        teller = _teller(metrics, tell)
        place, lora = out / "checkpoints", adapters(recipe.lora)
        learned = fine_tune(policy.model, policy.tokenizer, examples, place, [teller], lora, **_settings(recipe))
        _save(learned, policy.tokenizer, out)


def lessons(recipe: FineTuning, out: Path) -> list[Trajectory]:
    """Those that were answered and score enough; played and labelled first, where that is asked for."""
    asked = recipe.lessons
    run = Path(asked.run) if asked.run is not None else _played(recipe, out / PLAYED)
    if asked.labeller is not None:
        tag(Tagging(str(run), asked.labeller, 0.0 if asked.least is None else asked.least), out / TAGGED)
        run = out / TAGGED
    found = [one for one in RunDirectory(run).finished() if one.ended == "answered" and _is_enough(one, asked.least)]
    if not found:
        least = "" if asked.least is None else f" and scored at least lessons.least={asked.least:g}"
        raise DataError(f"{run} holds no lesson: no episode was answered{least}")
    return found


def _played(recipe: FineTuning, out: Path) -> Path:
    """With the profile and without."""
    asked = recipe.lessons
    settings = recipe.playing(recipe.data.train, asked.limit, model=asked.player, agent=asked.agent or recipe.agent)
    asyncio.run(evaluate(settings, RunDirectory(out), Speed(recipe.generation.in_flight, recipe.generation.deadline)))
    return out


def _is_enough(lesson: Trajectory, least: float | None) -> bool:
    score = score_of(lesson)
    return least is None or (score is not None and score >= least)


def _settings(recipe: FineTuning) -> dict[str, Any]:
    """As TRL calls them."""
    fitting = recipe.optimiser
    return {
        "seed": recipe.seed,
        "max_steps": fitting.steps,
        "per_device_train_batch_size": fitting.batch,
        "learning_rate": fitting.learning_rate,
        "lr_scheduler_type": {"constant": "constant_with_warmup"}.get(fitting.schedule, fitting.schedule),
        "warmup_steps": fitting.warmup,
        "bf16": recipe.precision == "bfloat16",
        "logging_steps": 1,
        "disable_tqdm": True,
    }


def _teller(metrics: MetricsWriter, tell: Tell) -> Any:
    """Hears of each step from transformers, which calls the loss of GRPO and of lessons alike."""
    from transformers import TrainerCallback

    class Teller(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any], **_: Any) -> None:
            if "loss" in logs:
                found = {"lesson_loss": logs["loss"], "learning_rate": logs["learning_rate"]}
                metrics.write(state.global_step, found)
                tell(state.global_step, found)

    return Teller()


def _save(model: Any, tokenizer: Any, out: Path) -> None:
    """In one move, so that a policy that is there is whole."""
    unfinished = out / f".{FINAL}"
    rmtree(unfinished, ignore_errors=True)
    save_policy(model, tokenizer, unfinished)
    unfinished.replace(out / FINAL)
