"""The validation questions that are played between the steps of a training."""

from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("trl")

from matching import naming
from tiny_policy import DATA, recipe

from profilegym.errors import OptionError
from profilegym.evaluation.evaluate import Speed
from profilegym.training.grpo import callbacks
from profilegym.training.grpo.callbacks import RunCallback
from profilegym.training.interruption import Interruption
from profilegym.training.processes import Processes
from profilegym.training.train import _keep_final


@dataclass
class Trainer:
    """What a course of a run asks of its trainer."""

    processes: Processes = field(default_factory=Processes)
    share: None = None
    accelerator: Any = field(default_factory=lambda: SimpleNamespace(autocast=nullcontext))
    rollouts: Any = field(default_factory=lambda: SimpleNamespace(close=lambda: None))
    state: Any = field(default_factory=lambda: SimpleNamespace(global_step=0))

    def policy(self) -> None: ...

    def save_policy(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(str(self.state.global_step))


def asked(folder: Path, **watch: Any) -> Any:
    return recipe(
        folder,
        data={"train": DATA, "validation": "world:users=20/validation"},
        generation={"turn_tokens": 12, "max_tokens": 30, "deadline": 7200, "in_flight": 3},
        watch={"evaluate": 1} | watch,
    )


def test_they_keep_to_the_recipes_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Speed] = []

    def evaluate_together(_: Any, settings: Any, run: Any, speed: Speed, *more: Any) -> dict[str, Any]:
        seen.append(speed)
        return {}

    monkeypatch.setattr(callbacks, "evaluate_together", evaluate_together)
    trainer = Trainer()
    course = RunCallback(asked(tmp_path), tmp_path, trainer, Interruption(), lambda step, values: None)
    course.on_train_begin(None, trainer.state, None)
    course.close()

    assert seen == [Speed(3, 7200)]


@pytest.mark.parametrize(("choose_by", "step"), [(None, "3"), ("score", "2"), ("evidence", "1")])
def test_the_final_policy_is_the_last_one_or_the_best_of_the_figure_that_is_named(
    choose_by: str | None, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = iter([(0.1, 0.3), (0.2, 0.9), (0.5, 0.7), (0.4, 0.8)])

    def evaluate_together(*_: Any) -> dict[str, Any]:
        return {name: {"mean": value} for name, value in zip(("score", "evidence"), next(figures), strict=True)}

    monkeypatch.setattr(callbacks, "evaluate_together", evaluate_together)
    trainer = Trainer()
    course = RunCallback(
        asked(tmp_path, choose_by=choose_by), tmp_path, trainer, Interruption(), lambda step, values: None
    )
    course.on_train_begin(None, trainer.state, None)
    for number in (1, 2, 3):
        trainer.state.global_step = number
        course.on_step_end(None, trainer.state, SimpleNamespace())
    course.close()
    _keep_final(trainer, course, tmp_path)

    assert (tmp_path / "final" / "config.json").read_text() == step


def test_a_run_that_was_killed_before_its_first_checkpoint_plays_its_evaluations_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "evaluate_together", lambda *_: {})
    for step in (0, 1, 2):
        (tmp_path / "evaluations" / f"step-{step}").mkdir(parents=True)
    trainer = Trainer()
    course = RunCallback(asked(tmp_path), tmp_path, trainer, Interruption(), lambda step, values: None)

    course.on_train_begin(None, trainer.state, None)
    course.close()

    assert [path.name for path in (tmp_path / "evaluations").iterdir()] == ["step-0"]


def test_evidence_cannot_choose_where_no_question_names_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "evaluate_together", lambda *_: {"score": {"mean": 0.5}})
    trainer = Trainer()
    course = RunCallback(
        asked(tmp_path, choose_by="evidence"), tmp_path, trainer, Interruption(), lambda step, values: None
    )

    with pytest.raises(OptionError, match=naming("choose_by=evidence", "world:users=20/validation")):
        course.on_train_begin(None, trainer.state, None)
    course.close()
