"""What happens between the steps of a run: metrics written, the policy evaluated, its health watched."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object
from transformers import TrainerCallback

from ...envs.data import load_questions
from ...envs.trajectory import Trajectory
from ...evaluation.evaluate import Speed, evaluate
from ...evaluation.run import RunDirectory
from ..metrics import METRICS, MetricsWriter
from ..recipe import Recipe
from .resuming import BEST, EVALUATIONS, forget_after, steps_before
from .watch import Watch

Tell = Callable[[int, Mapping[str, Any]], None]  # a step's number and its metrics
_ENDS = ("train_runtime", "train_loss")  # what TRL logs of a whole run, after its last step


@dataclass
class Interruption:
    """Who asked for the run to stop, if anybody."""

    by: str | None = None


def breaks_the_protocol(played: Sequence[Trajectory]) -> list[str]:
    """What to do where the starting policy has no grammar to begin with: from rewards alone it rarely learns one."""
    broken = [trajectory for trajectory in played if trajectory.structure_ok is False]
    if len(broken) <= len(played) / 2:
        return []
    share = len(broken) / len(played)
    return [
        f"the starting policy breaks the protocol in {share:.0%} of its episodes: fine-tune it on lessons first, as "
        "the recipe pr2-world-smollm2-smoke does (docs/training.md, A warm start)"
    ]


class Course(TrainerCallback):  # type: ignore[misc]
    """Follows a trainer from step to step; only the first process writes."""

    def __init__(self, recipe: Recipe, out: Path, trainer: Any, interruption: Interruption, tell: Tell) -> None:
        self.fell_back = False
        self.best_folder = out / BEST
        self._recipe, self._out, self._trainer = recipe, out, trainer
        self._interruption, self._tell = interruption, tell
        questions = load_questions(recipe.data.train)
        self._watch = Watch(questions.find, recipe.episode.max_searches)
        self._metrics = MetricsWriter(out / METRICS) if trainer.accelerator.is_main_process else None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Before anything was learned the policy is evaluated; a resumed run drops what it is about to do again."""
        if state.global_step == 0 and self._recipe.watch.evaluate:
            self._evaluate(0)
        elif self._metrics is not None:
            forget_after(state.global_step, self._out)
            for played, metrics in steps_before(state.global_step, self._out):
                self._watch.look(played, metrics)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        every = self._recipe.watch.evaluate
        if every and (state.global_step % every == 0 or state.global_step == self._recipe.optimiser.steps):
            self._evaluate(state.global_step)
        if any(gather_object([self._interruption.by is not None])):  # all processes stop at the same step
            self._interruption.by = self._interruption.by or "a signal to another process"
            control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        if any(name in logs for name in _ENDS) or self._metrics is None:
            return
        found = {name: value for name, value in logs.items() if isinstance(value, float | int)}
        signs = sorted(self._watch.look(self._trainer.played, found))
        if state.global_step == 1:
            signs += breaks_the_protocol(self._trainer.played)
        self._write(state.global_step, found | ({"alarms": signs} if signs else {}))
        if self._recipe.watch.stop_on_collapse and self._watch.collapsed:
            self.fell_back = (self.best_folder / "config.json").exists()
            control.should_training_stop = True

    def close(self) -> None:
        if self._metrics is not None:
            self._metrics.close()
        self._trainer.rollouts.close()

    def _write(self, step: int, values: Mapping[str, Any]) -> None:
        if self._metrics is not None:
            self._metrics.write(step, values)
            self._tell(step, values)

    def _evaluate(self, step: int) -> None:
        """The validation questions with and without the profile, by the policy as it is now."""
        if not self._trainer.accelerator.is_main_process:
            return
        recipe = self._recipe
        run = RunDirectory(self._out / EVALUATIONS / f"step-{step}")
        model = self._trainer.policy()
        settings = recipe.playing(str(recipe.data.validation), recipe.watch.questions)
        summary = asyncio.run(evaluate(settings, run, Speed(recipe.generation.in_flight), model=model))
        values = {
            f"validation_{name}": summary[name]["mean"]
            for name in ("score", "baseline", "gain", "searches")
            if name in summary
        }
        self._write(step, values)
        self._keep_if_best(step, values.get("validation_score"))

    def _keep_if_best(self, step: int, score: float | None) -> None:
        note = self.best_folder / "best.json"
        best = json.loads(note.read_text())["score"] if note.exists() else None
        if score is not None and (best is None or score > best):
            self._trainer.save_policy(self.best_folder)
            note.write_text(json.dumps({"step": step, "score": score}))
