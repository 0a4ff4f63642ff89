"""Any field of TRL's config may stand under `trl:`, but those that the recipe sets itself."""

from pathlib import Path

import pytest
from matching import naming
from tiny_policy import make_tiny_policy, recipe

pytest.importorskip("torch")
trl = pytest.importorskip("trl")

from profilegym.errors import OptionError  # noqa: E402
from profilegym.training.checks import problems_of  # noqa: E402
from profilegym.training.grpo.config import _decided, config  # noqa: E402
from profilegym.training.trl_fields import FIXED, GRPO, SFT, checkpointing, wrong_fields  # noqa: E402


def test_a_field_of_trls_reaches_its_config(tmp_path: Path) -> None:
    given = {"num_iterations": 2, "top_k": 20, "ddp_timeout": 60}
    asked = recipe(tmp_path, trl=given, watch={"evaluate": 0, "save": 2})

    found = config(asked, tmp_path)

    assert (found.num_iterations, found.top_k, found.ddp_timeout) == (2, 20, 60)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("learning_rate", ["optimiser.learning_rate"]),
        ("use_cpu", ["fixed"]),
        ("mask_truncated_completions", ["fixed"]),  # an episode ends with a tag, not with TRL's end: all are truncated
        ("num_iteration", ["num_iterations"]),
    ],
)
def test_a_field_that_the_recipe_sets_or_nobody_knows_is_refused(tmp_path: Path, field: str, values: list[str]) -> None:
    policy = make_tiny_policy(tmp_path / "policy")

    (problem,) = problems_of(recipe(policy, trl={field: 1}))

    assert f"trl.{field}" in problem
    assert all(value in problem for value in values)


@pytest.mark.parametrize("field", ["packing", "padding_free", "eval_packing"])
def test_lessons_that_stand_in_one_row_are_refused(field: str) -> None:
    (problem,) = wrong_fields({field: True}, SFT, list(trl.SFTConfig.__dataclass_fields__))

    assert f"trl.{field}" in problem


def test_every_field_that_the_recipe_decides_is_listed(tmp_path: Path) -> None:
    decided = set(_decided(recipe(tmp_path), tmp_path))
    decided |= set(_decided(recipe(tmp_path, generation={"engine": "vllm"}), tmp_path))

    assert decided <= {*GRPO, *FIXED}


def test_a_recipe_may_weigh_vllms_samples_in_another_way(tmp_path: Path) -> None:
    drawn = {"engine": "vllm", "top_p": 0.9}
    by_token, other = (
        config(recipe(tmp_path, generation=drawn, trl=fields), tmp_path).vllm_importance_sampling_mode
        for fields in ({}, {"vllm_importance_sampling_mode": "token_mask"})
    )

    assert (by_token, other) == ("token_truncate", "token_mask")


def test_every_listed_field_is_trls() -> None:
    renamed = {"activation_checkpointing"}  # since transformers 5.23
    assert set(GRPO) - renamed <= set(trl.GRPOConfig.__dataclass_fields__)
    assert set(SFT) - renamed <= set(trl.SFTConfig.__dataclass_fields__)
    assert list(wrong_fields({}, GRPO, ())) == []


def test_the_documentation_has_each_of_them() -> None:
    page = (Path(__file__).parent.parent / "docs" / "trl.md").read_text("utf-8")

    assert [name for name, ours in GRPO.items() if f"| `{name}` | `{ours.split()[0]}`" not in page] == []


def test_dr_grpo_divides_by_the_same_length_whoever_writes_the_turns(tmp_path: Path) -> None:
    from profilegym.envs.data import load_questions
    from profilegym.rewards import make_reward
    from profilegym.training.grpo.trainer import PR2Trainer
    from profilegym.training.policy import load_policy

    asked = recipe(make_tiny_policy(tmp_path / "policy"))
    questions = load_questions(asked.data.train)

    trainer = PR2Trainer(
        asked, load_policy(asked.model), questions, make_reward("rubric"), lambda played: None, tmp_path
    )

    assert trainer.max_completion_length == asked.generation.max_tokens


def test_two_gpus_without_a_launcher_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    asked = recipe(make_tiny_policy(tmp_path / "policy"))

    (problem,) = problems_of(asked)
    assert "CUDA_VISIBLE_DEVICES=0" in problem
    assert "accelerate launch --num_processes 2" in problem

    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not [found for found in problems_of(asked) if "launch" in found]


def test_a_model_without_weights_here_is_refused_with_its_name() -> None:
    from profilegym.agents.models.weights import weights_of

    with pytest.raises(OptionError, match=naming("openai:gpt", "smollm2")):
        weights_of("openai:gpt")


def test_rows_that_do_not_divide_a_batch_of_lessons_are_refused() -> None:
    from profilegym.training.lessons import SFTRecipe
    from profilegym.training.settings import check_settings

    content = {
        "about": "a test", "method": "sft", "data": {"train": "world:users=8/train"},
        "lessons": {"player": "scripted:oracle"}, "optimiser": {"steps": 1, "batch": 8, "rows": 3},
    }  # fmt: skip

    with pytest.raises(OptionError, match=naming("optimiser.rows=3", "batch of 8")):
        check_settings(SFTRecipe, content, "test")


def test_lessons_are_fine_tuned_with_trls_fields_and_with_checkpointing() -> None:
    from profilegym.training.lessons import SFTRecipe, _settings
    from profilegym.training.settings import check_settings

    content = {
        "about": "a test", "method": "sft", "data": {"train": "world:users=8/train"}, "gradient_checkpointing": True,
        "lessons": {"player": "scripted:oracle"}, "optimiser": {"steps": 1}, "trl": {"max_grad_norm": 0.25},
    }  # fmt: skip

    settings = _settings(check_settings(SFTRecipe, content, "test"))

    assert settings["max_grad_norm"] == 0.25
    assert settings["gradient_checkpointing"] is True


def test_rows_split_a_batch_of_lessons_into_passes_and_change_nothing_else(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from profilegym.training.sft import Example, fine_tune

    policy = make_tiny_policy(tmp_path / "policy")
    examples = [
        Example(list(range(9, 9 + n)), [-100] * 3 + list(range(12, 9 + n))) for n in (5, 9, 14, 20, 7, 11, 30, 6)
    ]

    def trained(rows: int) -> dict[str, torch.Tensor]:
        learned = fine_tune(
            AutoModelForCausalLM.from_pretrained(policy), AutoTokenizer.from_pretrained(policy), examples,
            tmp_path / str(rows), seed=0, max_steps=3, per_device_train_batch_size=rows,
            gradient_accumulation_steps=4 // rows, learning_rate=0.1, optim="sgd", bf16=False,
            disable_tqdm=True,
        )  # fmt: skip
        weights: dict[str, torch.Tensor] = learned.state_dict()
        return weights

    start = AutoModelForCausalLM.from_pretrained(policy).state_dict()
    whole, split = trained(4), trained(1)

    assert any((whole[name] - start[name]).abs().max() > 1e-4 for name in whole)
    assert all(torch.allclose(whole[name], split[name], atol=1e-6) for name in whole)


class OfEarlierTransformers:
    __dataclass_fields__ = ("gradient_checkpointing",)


def test_checkpointing_has_the_name_that_the_installed_transformers_knows() -> None:
    assert checkpointing(OfEarlierTransformers, True) == {"gradient_checkpointing": True}
    ((name, on),) = checkpointing(trl.GRPOConfig, True).items()
    assert on
    assert name in trl.GRPOConfig.__dataclass_fields__
