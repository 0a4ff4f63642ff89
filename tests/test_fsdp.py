"""Weights that are spread over two processes (FSDP2) are trained, evaluated, saved and resumed; others are refused."""

import json
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from launched import Launcher
from matching import naming
from tiny_policy import DATA, recipe, served

from profilegym.errors import OptionError
from profilegym.training.checks import problems_of
from profilegym.training.metrics import read_metrics
from profilegym.training.processes import Processes, SharedError

pytest.importorskip("trl")
pytest.importorskip("torch")

LAUNCH = Path(__file__).parent.parent / "training" / "launch"
FSDP2 = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
SETTINGS: dict[str, Any] = {
    "optimiser": {"steps": 3, "questions": 2, "learning_rate": 1e-3},
    "trl": {"max_staleness": 1},
    "data": {"train": DATA, "validation": "world:seed=1,users=12/validation"},
    "watch": {"evaluate": 3, "questions": 2, "save": 2},
}


@pytest.fixture(scope="module")
def sharded(launch: Launcher) -> dict[str, str]:
    """What `accelerate launch` sets by the file that comes with the package."""
    found: dict[str, str] = json.loads(launch("environment", processes=1, config=LAUNCH / "fsdp2.yaml")["ended"]["0"])
    return found


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(folder / "model.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize("lora", [{"rank": 4, "alpha": 8}, None], ids=["adapters", "all weights"])
def test_two_fsdp_processes_train_evaluate_save_stop_and_go_on(
    lora: dict[str, int] | None, launch: Launcher, launched_policy: Path, sharded: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    with served(launched_policy) as generation:
        given: dict[str, Any] = {
            "policy": launched_policy,
            "out": tmp_path,
            "changes": SETTINGS | {"generation": generation, "lora": lora},
            "fault": None if lora else "no NCCL",
        }
        stopped = launch("learn", env=sharded, until=1, **given)
        saved = sorted(path.name for path in (tmp_path / "checkpoints" / "checkpoint-2").iterdir())
        done = launch("learn", env=sharded, **given)

    assert all(said.startswith("stopped") for said in stopped["ended"].values())
    assert {"pytorch_model_fsdp_0", "optimizer_0", "trainer_state.json"} <= set(saved)  # each process's part
    assert done["ended"] == {"0": "done", "1": "done"}
    metrics = read_metrics(tmp_path / "metrics.jsonl")
    assert [step["step"] for step in metrics if "loss" in step] == [1, 2, 3]
    assert [step["step"] for step in metrics if "validation_score" in step] == [0, 3]
    before, after = weights(launched_policy), weights(tmp_path / "final")
    assert {name: weight.shape for name, weight in before.items()} == {name: w.shape for name, w in after.items()}
    changed = {name for name, weight in before.items() if (weight != after[name]).any()}
    assert changed
    assert all("_proj" in name for name in changed) or not lora
    assert all((weight - after[name]).abs().max() < 0.02 for name, weight in before.items())  # three steps of 0.001
    best = weights(tmp_path / "best")  # of the start, or of the last step if it scores more
    assert all(any((best[name] == of[name]).all() for of in (before, after)) for name in before)


@pytest.mark.slow
def test_three_fsdp_processes_go_on_from_the_checkpoint_of_two(
    launch: Launcher, launched_policy: Path, sharded: dict[str, str], tmp_path: Path
) -> None:
    """Its weights are read as they were written; a step from the state before it has AdamW's moments."""
    optimiser = SETTINGS["optimiser"] | {"steps": 2}
    changes = SETTINGS | {"watch": {"evaluate": 0, "save": 1}, "optimiser": optimiser}
    with served(launched_policy) as generation:

        def final(processes: int) -> dict[str, Any]:
            outcome = launch(
                "learn", processes, env=sharded, policy=launched_policy, out=tmp_path,
                changes=changes | {"generation": generation}, fault="no NCCL",
            )  # fmt: skip
            assert set(outcome["ended"].values()) == {"done"}
            found = weights(tmp_path / "final")
            rmtree(tmp_path / "final")
            return found

        by_two, by_three = final(2), final(3)
        rmtree(tmp_path / "checkpoints" / "checkpoint-2")
        anew = final(3)

    assert all((by_two[name] == weight).all() for name, weight in by_three.items())
    assert [step["step"] for step in read_metrics(tmp_path / "metrics.jsonl") if "loss" in step] == [1, 2]
    assert 0 < max((by_two[name] - weight).abs().max() for name, weight in anew.items()) < 0.01  # steps are of 0.001


@pytest.mark.parametrize(
    ("saved", "environment", "named"),
    [
        ("pytorch_model_fsdp_0", {}, ("fsdp2.yaml",)),
        ("model.safetensors", FSDP2, ("torchrun", "ddp.yaml")),
    ],
    ids=["sharded, asked for whole", "whole, asked for sharded"],
)
def test_a_checkpoint_of_whole_weights_or_of_sharded_ones_is_not_loaded_as_the_other(
    saved: str, environment: dict[str, str], named: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from profilegym.training.train import train

    checkpoint = tmp_path / "run" / "checkpoints" / "checkpoint-2"
    for file in (saved, "trainer_state.json"):
        (checkpoint / file).mkdir(parents=True)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    nowhere = recipe(tmp_path / "no-weights", generation={"engine": "vllm-server", "vllm_server": "http://nowhere"})

    with pytest.raises(OptionError, match=naming(checkpoint, *named)):
        train(nowhere, tmp_path / "run", lambda *_: None)


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, ("DeepSpeed", "fsdp2.yaml")),
        ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "1"}, ("fsdp_version: 2",)),
        (FSDP2, ("generation.engine=vllm-server", "ddp.yaml")),
        (FSDP2 | {"FSDP_CPU_RAM_EFFICIENT_LOADING": "true"}, ("fsdp_cpu_ram_efficient_loading",)),
        (
            FSDP2 | {"FSDP_ACTIVATION_CHECKPOINTING": "true"},
            ("fsdp_activation_checkpointing", "gradient_checkpointing"),
        ),
    ],
    ids=["ZeRO-3", "FSDP1", "the local engine under FSDP2", "weights for one process", "FSDP's own checkpointing"],
)
def test_what_shards_weights_otherwise_than_fsdp_with_servers_is_refused_before_they_are_loaded(
    environment: dict[str, str], named: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from profilegym.training.train import train

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    nowhere = recipe(tmp_path / "no-weights")

    with pytest.raises(OptionError, match=naming(*named)):
        train(nowhere, tmp_path / "run", lambda *_: None)
    assert not (tmp_path / "run").exists()
    assert any(named[0] in problem for problem in problems_of(nowhere))


def test_fsdp_by_a_field_of_trl_is_refused(tmp_path: Path) -> None:
    problems = problems_of(recipe(tmp_path, trl={"fsdp": True, "deepspeed": "zero3.json"}))

    assert any("trl.fsdp" in problem for problem in problems)
    assert any("trl.deepspeed" in problem for problem in problems)


class TwoProcesses(Processes):
    """The first of two; what the other one says is given."""

    other: Any = None

    def gathered(self, value: Any) -> list[Any]:
        return [value, self.other]


@pytest.mark.parametrize(
    ("mine", "other", "raised"),
    [
        (None, None, None),
        (OSError("the disk is full"), None, SharedError),
        (None, (True, "the judge is gone"), SharedError),
        (None, (False, "KeyError: 'x'"), RuntimeError),
        (KeyError("x"), None, KeyError),
        (OSError("the disk is full"), (False, "KeyError: 'x'"), RuntimeError),
    ],
)
def test_an_error_of_one_of_two_processes_is_raised_by_both(
    mine: Exception | None, other: tuple[bool, str] | None, raised: type[Exception] | None
) -> None:
    processes = type("Pair", (TwoProcesses,), {"other": other})(0, 2)

    def work() -> None:
        with processes.together():
            if mine is not None:
                raise mine

    if raised is None:
        work()
        return
    with pytest.raises(raised) as found:
        work()
    assert isinstance(found.value, SharedError) == (raised is SharedError)
