"""Fine-tuning on lessons that is interrupted goes on as if it had not been."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from matching import naming
from tiny_policy import make_tiny_policy

torch = pytest.importorskip("torch")
pytest.importorskip("trl")
pytest.importorskip("peft")

from profilegym.errors import OptionError  # noqa: E402
from profilegym.evaluation.run import RunDirectory  # noqa: E402
from profilegym.training import lessons  # noqa: E402
from profilegym.training.interruption import Stopped  # noqa: E402
from profilegym.training.lessons import SFTRecipe, train_sft  # noqa: E402
from profilegym.training.metrics import read_metrics  # noqa: E402
from profilegym.training.settings import check_settings  # noqa: E402

pytestmark = pytest.mark.slow

STEPS = 4


def asked(tmp_path: Path, **changes: Any) -> SFTRecipe:
    settings = {
        "about": "a test",
        "method": "sft",
        "model": f"hf:{make_tiny_policy(tmp_path / 'policy')}",
        "data": {"train": "world:seed=1,users=20/train"},
        "lessons": {"player": "scripted:oracle", "limit": 6},
        "optimiser": {"steps": STEPS, "batch": 2, "learning_rate": 1e-2},
    }
    return check_settings(SFTRecipe, settings | changes, "test")


def learned(out: Path) -> dict[str, Any]:
    from transformers import AutoModelForCausalLM

    found: dict[str, Any] = AutoModelForCausalLM.from_pretrained(out / "final").state_dict()
    return found


def metrics(out: Path) -> list[dict[str, Any]]:
    return read_metrics(out / "metrics.jsonl")


@pytest.mark.parametrize("lora", [None, {"rank": 4, "targets": "all-linear"}])
def test_it_goes_on_as_if_it_had_not_been_interrupted(tmp_path: Path, lora: Mapping[str, Any] | None) -> None:
    recipe = asked(tmp_path, lora=lora)
    train_sft(recipe, tmp_path / "whole", lambda *_: None)

    def interrupt(step: int, _: Any) -> None:
        if step == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match=naming("SIGTERM", 2, tmp_path / "cut")):
        train_sft(recipe, tmp_path / "cut", interrupt)
    assert not (tmp_path / "cut" / "final").exists()
    told: list[int] = []
    train_sft(recipe, tmp_path / "cut", lambda step, _: told.append(step))

    assert told == [3, 4]
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")
    whole, cut = learned(tmp_path / "whole"), learned(tmp_path / "cut")
    assert all((cut[name] == weights).all() for name, weights in whole.items())
    assert any((weights != cut_of_start).any() for weights, cut_of_start in _beside_the_start(tmp_path, whole))


def test_a_run_from_before_an_option_goes_on_unless_it_is_given(tmp_path: Path) -> None:
    settings, run = asked(tmp_path).model_dump(), tmp_path / "run"
    for group, name in (("lessons", "attempts"), ("lessons", "choose_by"), ("conclusion", "temperature")):
        settings[group] = {option: value for option, value in settings[group].items() if option != name}
    with RunDirectory(run).writing(settings):
        (run / "final").mkdir()

    train_sft(asked(tmp_path), run, lambda *_: None)

    lessons = {"player": "scripted:oracle", "limit": 6, "attempts": 2}
    with pytest.raises(OptionError, match=naming(run, "'attempts': 1", "'attempts': 2")):
        train_sft(asked(tmp_path, lessons=lessons), run, lambda *_: None)


def test_a_finished_run_is_left_alone_and_one_of_other_settings_refused(tmp_path: Path) -> None:
    train_sft(asked(tmp_path), tmp_path / "run", lambda *_: None)
    told: list[int] = []
    train_sft(asked(tmp_path), tmp_path / "run", lambda step, _: told.append(step))

    with pytest.raises(OptionError, match=naming(tmp_path / "run", "seed=0", "9 now")):
        train_sft(asked(tmp_path, seed=9), tmp_path / "run", lambda *_: None)

    assert told == []


def test_an_interruption_in_the_last_step_ends_the_run_as_usual(tmp_path: Path) -> None:
    def interrupt(step: int, _: Any) -> None:
        if step == STEPS - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    train_sft(asked(tmp_path), tmp_path / "run", interrupt)

    assert [one["step"] for one in metrics(tmp_path / "run")] == [1, 2, 3, 4]
    assert (tmp_path / "run" / "final" / "config.json").exists()


def test_a_run_that_dies_loses_what_came_after_its_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lessons, "_SAVED_EVERY", 0.0)
    monkeypatch.setattr(lessons, "_SAVING", 1e9)

    def die(step: int, _: Any) -> None:
        if step == 3:
            raise RuntimeError("dead")

    recipe = asked(tmp_path)
    with pytest.raises(RuntimeError, match="dead"):
        train_sft(recipe, tmp_path / "run", die)
    told: list[int] = []
    train_sft(recipe, tmp_path / "run", lambda step, _: told.append(step))

    assert told == [3, 4]
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {"final", "metrics.jsonl", "played"}
    assert not (tmp_path / "run" / "checkpoints").exists()  # they are large, and nobody needs them any more


def _beside_the_start(tmp_path: Path, whole: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    from transformers import AutoModelForCausalLM

    start = AutoModelForCausalLM.from_pretrained(tmp_path / "policy").state_dict()
    return [(weights, start[name]) for name, weights in whole.items()]
