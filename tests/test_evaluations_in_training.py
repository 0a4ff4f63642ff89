"""The validation questions that are played between the steps of a training."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("trl")

from tiny_policy import DATA, recipe

from profilegym.evaluation.evaluate import Speed
from profilegym.training.grpo import callbacks
from profilegym.training.grpo.callbacks import Interruption, RunCallback
from profilegym.training.processes import Processes


def test_they_keep_to_the_recipes_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Speed] = []

    def evaluate_together(_: Any, settings: Any, run: Any, speed: Speed, *more: Any) -> dict[str, Any]:
        seen.append(speed)
        return {}

    monkeypatch.setattr(callbacks, "evaluate_together", evaluate_together)
    asked = recipe(
        tmp_path,
        data={"train": DATA, "validation": "world:users=20/validation"},
        generation={"turn_tokens": 12, "max_tokens": 30, "deadline": 7200, "in_flight": 3},
        watch={"evaluate": 1},
    )
    trainer = SimpleNamespace(
        accelerator=SimpleNamespace(autocast=nullcontext),
        processes=Processes(),
        share=None,
        state=SimpleNamespace(global_step=0),
        rollouts=SimpleNamespace(close=lambda: None),
        policy=lambda: None,
    )
    course = RunCallback(asked, tmp_path, trainer, Interruption(), lambda step, values: None)
    course.on_train_begin(None, trainer.state, None)
    course.close()

    assert seen == [Speed(3, 7200)]
