"""Trains a policy by GRPO: starts, interrupts, resumes and finishes a run."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from .._util.files import whole_folder
from ..envs.data import load_questions
from ..envs.trajectory import Trajectory, TrajectoryWriter
from ..errors import OptionError, ProfileGymError
from ..evaluation.run import RunDirectory
from ..rewards import make_reward
from .grpo.callbacks import NothingLeft, RunCallback
from .interruption import Interruption, Stopped, last_checkpoint, signals, steps_done
from .metrics import StepCallback
from .policy import FINAL, load_policy
from .processes import EXPECTED, Processes, SharedError, resuming_problems, sharding_problems
from .recipe import Recipe
from .runtime import keep_memory, quieten


def train(recipe: Recipe, out: Path, on_step: StepCallback) -> None:
    """Train to the last step, from the newest checkpoint if there is one."""
    if not _is_done(out):
        for problem in (*sharding_problems(recipe.generation.engine), *resuming_problems(last_checkpoint(out))):
            raise OptionError(problem)
    with _directory(recipe, out):
        if not _is_done(out):
            _train(recipe, out, on_step)


def _is_done(out: Path) -> bool:
    return (out / FINAL / "config.json").exists()


def _train(recipe: Recipe, out: Path, on_step: StepCallback) -> None:
    quieten()
    keep_memory()
    with TrajectoryWriter(out / "trajectories.jsonl") as trajectories:
        trainer, interruption = _trainer(recipe, out, trajectories), Interruption()
        course = RunCallback(recipe, out, trainer, interruption, on_step)
        trainer.add_callback(course)
        with closing(course), signals(interruption):
            _learn(trainer, out)
        step, steps = trainer.state.global_step, recipe.optimiser.steps
        if interruption.by and step < steps:
            raise Stopped(f"stopped by {interruption.by}", step, out)
        if step < steps and not course.collapsed:
            raise ProfileGymError(
                f"training ended at step {step} of {steps}, as TRL found nothing more to train on: check data.train="
                f"{recipe.data.train} and the fields under trl"
            )
        _keep_final(trainer, course, out)


def _trainer(recipe: Recipe, out: Path, trajectories: TrajectoryWriter) -> Any:
    questions, reward = load_questions(recipe.data.train), make_reward(recipe.reward)
    for problem in recipe.problems_of(len(questions)):
        raise OptionError(problem)

    def record(played: Sequence[Trajectory]) -> None:
        for trajectory in played:
            trajectory.model = recipe.model
            trajectories.write(trajectory)

    if recipe.generation.engine == "vllm-server":
        from .grpo.async_trainer import make_async_trainer

        return make_async_trainer(recipe, questions, reward, record, out, steps_done(out) * recipe.optimiser.questions)
    from .grpo.trainer import PR2Trainer

    policy = load_policy(recipe.model, recipe.precision, recipe.lora)
    return PR2Trainer(recipe, policy, questions, reward, record, out)


def _learn(trainer: Any, out: Path) -> None:
    """Save a checkpoint if the judge fails or the disk is full."""
    processes: Processes = trainer.processes
    checkpoint = processes.decided(last_checkpoint(out))
    try:
        with suppress(NothingLeft):
            trainer.train(resume_from_checkpoint=checkpoint)
        processes.gathered(None)  # a process that ended before the others have saved would have them ended, too
    except EXPECTED as error:
        try:
            trainer.save_now(together=processes.count == 1 or isinstance(error, SharedError))
        except EXPECTED as full:
            told = f"stopped: {error}; nothing more could be saved ({full})"
            raise Stopped(told, trainer.state.global_step, out) from error
        raise Stopped(f"stopped: {error}", trainer.state.global_step, out) from error


def _keep_final(trainer: Any, course: RunCallback, out: Path) -> None:
    """Save a plain transformers model: the last policy, or the best where that was asked for or after a collapse."""
    best = course.takes_best and (course.best_folder / "config.json").exists()
    if not trainer.processes.decided(best):
        trainer.save_policy(out / FINAL)
    elif trainer.processes.first:
        with whole_folder(out / FINAL) as unfinished:
            shutil.copytree(course.best_folder, unfinished)


@contextmanager
def _directory(recipe: Recipe, out: Path) -> Iterator[None]:
    """The first process writes the recipe; all share the folder."""
    writing = RunDirectory(out).writing(recipe.model_dump(), recipe.completed)
    with writing if Processes.launched().first else nullcontext():
        out.mkdir(parents=True, exist_ok=True)
        yield
