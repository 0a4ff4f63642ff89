"""Weights move: in bfloat16 the arithmetic alone is shortened, never the weights that learn."""

from pathlib import Path
from typing import Any, get_args

import pytest
from tiny_policy import make_tiny_policy, recipe

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("trl")

from profilegym.training.policy import load_policy  # noqa: E402
from profilegym.training.recipe import Lora, Optimiser  # noqa: E402
from profilegym.training.settings import recipe_names  # noqa: E402
from profilegym.training.stages import load_any  # noqa: E402
from profilegym.training.train import train  # noqa: E402

NAMES = get_args(Optimiser.model_fields["name"].annotation)
RATES = {"sgd": 1e-1}  # its steps are as large as the gradient, and no larger


def changed(before: Path, after: Path) -> float:
    """The share of the weights that are others now."""
    one, other = (transformers.AutoModelForCausalLM.from_pretrained(path).state_dict() for path in (before, after))
    differ = [(one[name] != other[name]).float().mean().item() * one[name].numel() for name in one]
    return float(sum(differ) / sum(weight.numel() for weight in one.values()))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name != "adamw_torch_fused"])
def test_weights_move_in_two_steps_of_bfloat16_whichever_the_optimiser(tmp_path: Path, name: str) -> None:
    start = make_tiny_policy(tmp_path / "policy")
    steps = {"steps": 2, "questions": 2, "name": name, "learning_rate": RATES.get(name, 1e-6)}

    train(recipe(start, precision="bfloat16", optimiser=steps), tmp_path / "run", lambda step, metrics: None)

    assert changed(start, tmp_path / "run" / "final") > 0.5


def test_every_optimiser_of_a_recipe_is_among_those_tried() -> None:
    used = {getattr(load_any(name).model_dump()["optimiser"], "name", None) or _named(name) for name in _grpo()}

    assert used <= set(NAMES)


def _grpo() -> list[str]:
    return [name for name in recipe_names() if "optimiser" in load_any(name).model_dump()]


def _named(name: str) -> Any:
    return load_any(name).model_dump()["optimiser"].get("name", "adamw_torch")


@pytest.mark.parametrize(
    ("precision", "lora", "kept"),
    [("bfloat16", None, "float32"), ("float32", Lora(), "float32"), ("bfloat16", Lora(), "bfloat16")],
)
def test_weights_that_learn_are_float32_and_those_beside_adapters_may_be_less(
    tmp_path: Path, precision: str, lora: Lora | None, kept: str
) -> None:
    policy = load_policy(f"hf:{make_tiny_policy(tmp_path / 'policy')}", precision, lora)

    assert policy.model.dtype == getattr(torch, kept)


@pytest.mark.slow
def test_adapters_are_merged_into_a_plain_model_without_changing_what_is_trained_on(tmp_path: Path) -> None:
    start = make_tiny_policy(tmp_path / "policy")
    asked = recipe(start, lora={"rank": 4}, optimiser={"steps": 2, "questions": 2, "learning_rate": 1e-2})
    seen: dict[str, Any] = {}

    def kept(self: Any, folder: Path) -> None:
        from profilegym.training.policy import save_policy

        model = self.accelerator.unwrap_model(self.model)
        before = {name: weight.clone() for name, weight in model.state_dict().items()}
        save_policy(model, self.processing_class, folder)
        ids = torch.arange(20).unsqueeze(0)
        seen["same"] = all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())
        seen["logits"] = model.eval()(input_ids=ids).logits.detach()

    from profilegym.training.grpo.trainer import PR2Trainer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PR2Trainer, "save_policy", kept)
        train(asked, tmp_path / "run", lambda step, metrics: None)

    plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "final")
    assert seen["same"]
    torch.testing.assert_close(plain(input_ids=torch.arange(20).unsqueeze(0)).logits, seen["logits"], atol=1e-4, rtol=0)
    assert changed(start, tmp_path / "run" / "final") > 0.1
