"""`bench gpu` at toy size: every part runs on the CPU, and says that it is a toy."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="the train extra is not installed")
pytest.importorskip("peft")

from rich.console import Console

from profilegym.benchmarks import gpu, gpu_parts

pytestmark = pytest.mark.slow


def test_at_toy_size_every_part_is_measured_and_every_weight_moves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu.main(as_json=False, toy=True, out=tmp_path / "gpu.json")

    found = json.loads((tmp_path / "gpu.json").read_text())
    assert [row["trained"] for row in found["rows"]] == ["none", "LoRA", "all"] * 2
    for row in found["rows"]:
        assert row["problem"] == ""
        assert row["episodes"] == (6 if row["trained"] == "none" else 2 * 2 * 3)
        assert row["rollout_tokens_per_second"] > 0
        assert row["peak_gib"] > 0
        if row["trained"] != "none":
            assert row["steps"] == 2
            assert 0 < row["beside_the_model"] < 1
            assert row["trained_tokens_per_second"] > 0
    assert all(target.holds for target in gpu.targets(found))
    assert "TOY SIZE" in capsys.readouterr().out


def test_a_part_whose_time_is_over_ends_after_its_step_and_says_so() -> None:
    rows = gpu.measure(toy=True, seconds=0)["rows"]

    assert {row["steps"] for row in rows if row["trained"] != "none"} == {1}
    assert {row["problem"] for row in rows if row["trained"] != "none"} == {"no time for more steps"}


def test_a_model_that_does_not_fit_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    original = gpu._loaded

    def loaded(subject: Any, device: str, learns: bool) -> Any:
        if learns:
            raise torch.OutOfMemoryError
        return original(subject, device, learns)

    monkeypatch.setattr(gpu, "_loaded", loaded)
    monkeypatch.setattr(gpu, "_memory", lambda: 80 * 2**30)
    monkeypatch.setattr(gpu, "TOY", gpu.TOY[:1])

    played, lora, whole = gpu.measure(toy=True)["rows"]

    assert (played["problem"], lora["problem"]) == ("", "")
    assert "80 GiB" in whole["problem"]
    assert whole["changed"] is None


def test_weights_that_hardly_move_break_the_target() -> None:
    row = {"model": "m", "trained": "all", "changed": 0.02}

    assert [target.holds for target in gpu.targets({"rows": [row]})] == [False]


def test_what_is_carried_comes_in_parts_and_is_whole_again(tmp_path: Path) -> None:
    source = tmp_path / "wheels"
    source.mkdir()
    contents = {"one.whl": b"1" * 50_000, "two.whl": b"2" * 70_000}
    for name, content in contents.items():
        (source / name).write_bytes(content)

    gpu_parts.split(source, tmp_path / "parts", size=40_000)
    gpu_parts.join(tmp_path / "parts", tmp_path / "there")

    parts = list((tmp_path / "parts").iterdir())
    assert len(parts) >= 3
    assert all(part.stat().st_size <= 40_000 for part in parts)
    assert {path.name: path.read_bytes() for path in (tmp_path / "there").iterdir()} == contents


def test_a_part_that_was_not_carried_is_named(tmp_path: Path) -> None:
    for number in (0, 2):
        (tmp_path / f"part-{number:02}").touch()

    with pytest.raises(SystemExit, match="part-01"):
        gpu_parts.join(tmp_path, tmp_path / "there")


def test_pytorch_is_not_carried() -> None:
    assert not any(one.startswith("torch") for one in gpu_parts.requirements())
    assert any(one.startswith("trl") for one in gpu_parts.requirements())


def test_the_tables_fit_80_columns_and_a_problem_is_told_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    row = gpu.Row("a model", "LoRA", 200, 12345.6, 10, 123.4, 12345.6, 123.4, 0.15, 1.0, "out of memory [rank 0]")
    found = {"machine": "CPU", "torch": "2.13.0", "seconds": 450.0, "toy": False, "rows": [asdict(row)]}

    gpu.report(found, Console(width=80))

    told = capsys.readouterr().out
    assert "…" not in told
    assert "LoRA: out of memory [rank 0]" in told
