"""Between training steps: write metrics, evaluate the policy, detect its collapse, stop on a signal."""

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from transformers import TrainerCallback

from ...envs.data import load_questions
from ...envs.question import Question
from ...envs.trajectory import Trajectory
from ...errors import OptionError
from ...evaluation.alarms import Alarms
from ...evaluation.evaluate import Speed
from ...evaluation.run import RunDirectory
from ..interruption import Interruption
from ..metrics import METRICS, MetricsWriter, StepCallback
from ..processes import Processes, evaluate_together
from ..recipe import Recipe
from .resuming import BEST, EVALUATIONS, forget_after, steps_before

_ENDS = ("train_runtime", "train_loss")  # keys of TRL's log of the whole run
_STEPS = 5  # window: one step has too few groups
_PATIENCE = 3  # consecutive looks with the same sign before a run is stopped
_ENTROPY = 0.1  # of the first value: below it the policy has stopped exploring
_LENGTH = 2.5  # times the first value
_FALL = 0.15  # of the score below its best: more than the noise of a few dozen episodes
COLLAPSE = ("entropy", "length", "score", "forged information", "malformed", "truncated", "never searches")


class NothingLeft(Exception):
    """The checkpoint is that of the last step. transformers would train another one."""


def breaks_the_protocol(played: Sequence[Trajectory]) -> list[str]:
    """An alarm if the starting policy does not know the protocol, which it rarely learns from rewards alone."""
    broken = [trajectory for trajectory in played if trajectory.structure_ok is False]
    if len(broken) <= len(played) / 2:
        return []
    share = len(broken) / len(played)
    return [
        f"the starting policy breaks the protocol in {share:.0%} of its episodes: fine-tune it on lessons first, as "
        "the recipe pr2-world-smollm2-smoke does (docs/training.md, A warm start)"
    ]


class RunCallback(TrainerCallback):  # type: ignore[misc]
    """Follows a trainer from step to step. The first process decides and writes, and all do what it decided."""

    def __init__(
        self, recipe: Recipe, out: Path, trainer: Any, interruption: Interruption, on_step: StepCallback
    ) -> None:
        self.takes_best = recipe.watch.choose_by is not None
        self.collapsed = False  # and stopped for it
        self.best_folder = out / BEST
        self._recipe, self._out, self._trainer = recipe, out, trainer
        self._interruption, self._on_step = interruption, on_step
        self._processes: Processes = trainer.processes
        questions = load_questions(recipe.data.train)
        self._watch = CollapseWatch(questions.find, recipe.episode.max_searches)
        self._metrics = MetricsWriter(out / METRICS) if self._processes.first else None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Forget the steps that are repeated; evaluate the starting policy."""
        with self._processes.together():
            if self._processes.first:
                forget_after(state.global_step, self._out)
                for played, metrics in steps_before(state.global_step, self._out):
                    self._watch.look(played, metrics)
        if state.global_step == 0 and self._recipe.watch.evaluate:
            self._evaluate(0)
        if state.global_step >= self._recipe.optimiser.steps:
            raise NothingLeft

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        every = self._recipe.watch.evaluate
        if every and (state.global_step % every == 0 or state.global_step == self._recipe.optimiser.steps):
            self._evaluate(state.global_step)
        if any(self._processes.gathered(self._interruption.by is not None)):  # all processes stop at the same step
            self._interruption.by = self._interruption.by or "a signal to another process"
            control.should_save = control.should_training_stop = self._recipe.can_resume(state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        if any(name in logs for name in _ENDS):
            return
        played = [trajectory for share in self._processes.gathered(self._trainer.played) for trajectory in share]
        with self._processes.together():
            if self._processes.first:
                self._look(state.global_step, played, logs)
        if self._processes.decided(bool(self._collapse)):
            self.takes_best = self.collapsed = True
            control.should_training_stop = True

    def close(self) -> None:
        if self._metrics is not None:
            self._metrics.close()
        self._trainer.rollouts.close()

    @property
    def _collapse(self) -> list[str]:
        """The signs that the run is to stop for."""
        return self._watch.collapsed if self._recipe.watch.stop_on_collapse else []

    def _look(self, step: int, played: Sequence[Trajectory], logs: Mapping[str, Any]) -> None:
        found = {name: value for name, value in logs.items() if isinstance(value, float | int)}
        signs = sorted(self._watch.look(played, found))
        if step == 1:
            signs += breaks_the_protocol(played)
        noted = {"alarms": signs, "collapse": self._collapse}
        self._write(step, found | {name: told for name, told in noted.items() if told})

    def _write(self, step: int, values: Mapping[str, Any]) -> None:
        if self._metrics is not None:
            self._metrics.write(step, values)
            self._on_step(step, values)

    def _evaluate(self, step: int) -> None:
        """Play the validation questions with the current policy, with and without the profile."""
        recipe, trainer = self._recipe, self._trainer
        run = RunDirectory(self._out / EVALUATIONS / f"step-{step}")
        settings = recipe.playing(str(recipe.data.validation), recipe.watch.questions)
        speed = Speed(recipe.generation.in_flight, recipe.generation.deadline)
        model = trainer.policy()
        with trainer.accelerator.autocast():
            summary = evaluate_together(self._processes, settings, run, speed, model, trainer.share)
        values = {
            f"validation_{name}": summary[name]["mean"]
            for name in ("score", "baseline", "gain", "searches", "evidence")
            if name in summary
        }
        with self._processes.together():
            self._write(step, values)
        name = recipe.watch.choose_by or "score"
        if name == "evidence" and name not in summary:
            raise OptionError(f"watch.choose_by=evidence: no question of {recipe.data.validation} names its evidence")
        self._keep_if_best(step, name, values.get(f"validation_{name}"))

    def _keep_if_best(self, step: int, name: str, value: float | None) -> None:
        note = self.best_folder / "best.json"
        best = json.loads(note.read_text())[name] if self._processes.first and note.exists() else None
        if self._processes.decided(value is not None and (best is None or value > best)):
            self._trainer.save_policy(self.best_folder)
            with self._processes.together():
                if self._processes.first:
                    note.write_text(json.dumps({"step": step, name: value}))


@dataclass
class CollapseWatch:
    """Looks for signs of a collapsing policy in each step's episodes and metrics."""

    find: Callable[[str], Question]
    max_searches: int
    _episodes: deque[Sequence[Trajectory]] = field(default_factory=lambda: deque(maxlen=_STEPS))
    _metrics: list[Mapping[str, float]] = field(default_factory=list)
    _lasting: dict[str, int] = field(default_factory=dict)
    _at_first: set[str] | None = None  # signs of the untrained policy are no collapse

    def look(self, played: Sequence[Trajectory], metrics: Mapping[str, float]) -> dict[str, str]:
        """The current signs, each with what it means."""
        self._episodes.append([trajectory for trajectory in played if trajectory.kind == "personalised"])
        self._metrics.append(metrics)
        if len(self._episodes) < _STEPS:
            return {}
        found = self._in_episodes() | self._in_metrics()
        self._at_first = set(found) if self._at_first is None else self._at_first & set(found)
        self._lasting = {name: self._lasting.get(name, 0) + 1 for name in found if name not in self._at_first}
        return found

    @property
    def collapsed(self) -> list[str]:
        """The signs of collapse that persist."""
        return [name for name in COLLAPSE if self._lasting.get(name, 0) >= _PATIENCE]

    def _in_episodes(self) -> dict[str, str]:
        alarms = Alarms(self.max_searches)
        for step in self._episodes:
            for trajectory in step:
                alarms.add(trajectory, self.find(trajectory.question_id))
        return {alarm.name: alarm.meaning for alarm in alarms.report() if alarm.raised}

    def _in_metrics(self) -> dict[str, str]:
        entropy, length, score = (self._first_best_last(name) for name in ("entropy", "policy_tokens", "score"))
        found: dict[str, str] = {}
        if entropy and entropy[2] < _ENTROPY * entropy[0]:
            found["entropy"] = (
                f"Entropy fell from {entropy[0]:.2f} to {entropy[2]:.2f}: the policy has stopped exploring."
            )
        if length and length[2] > _LENGTH * length[0]:
            found["length"] = f"Episodes grew from {length[0]:.0f} to {length[2]:.0f} tokens of the policy."
        if score and score[2] < score[1] - _FALL:
            found["score"] = f"The score fell from {score[1]:.2f} to {score[2]:.2f}: go back to the best checkpoint."
        return found

    def _first_best_last(self, name: str) -> tuple[float, float, float] | None:
        """The first, the largest and the last of the metric's moving averages."""
        values = [metrics[name] for metrics in self._metrics if name in metrics]
        means = [fmean(values[end - _STEPS : end]) for end in range(_STEPS, len(values) + 1)]
        return (means[0], max(means), means[-1]) if means else None
