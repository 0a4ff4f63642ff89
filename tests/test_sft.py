"""Fine-tuning reads what all lessons of a pass begin with once, and learns the same."""

from pathlib import Path
from typing import Any

import pytest
from tiny_policy import make_tiny_policy

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from transformers import GraniteConfig, GraniteForCausalLM, TrainerCallback  # noqa: E402

from profilegym.training.policy import load_policy  # noqa: E402
from profilegym.training.reading import read_once  # noqa: E402
from profilegym.training.sft import IGNORED, Example, fine_tune  # noqa: E402

SHARED, OWN = 40, 24  # tokens


@pytest.fixture
def model(tmp_path: Path) -> Any:
    return load_policy(f"hf:{make_tiny_policy(tmp_path)}").model


def rows(shared: int, count: int = 3) -> Any:
    draws = torch.Generator().manual_seed(0)
    start = torch.randint(5, 100, (1, shared), generator=draws).expand(count, -1)
    return torch.cat([start, torch.randint(5, 100, (count, OWN), generator=draws)], 1)


def learned(model: Any, states: Any) -> tuple[Any, Any]:
    """The states, and the gradients that they give."""
    model.zero_grad()
    (states[:, 1:] * torch.linspace(-1, 1, states.shape[-1])).square().mean().backward()
    found = torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])
    return states.detach(), found


def read_by(model: Any) -> list[int]:
    """The number of tokens in each pass from now on."""
    sizes: list[int] = []
    model.get_input_embeddings().register_forward_hook(lambda _, given, __: sizes.append(given[0].numel()))
    return sizes


@pytest.mark.slow
@pytest.mark.parametrize("scaling", [1.0, 8.0])
def test_the_loss_is_that_of_the_logits_that_the_model_makes(scaling: float, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = GraniteConfig(
        vocab_size=100, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, logits_scaling=scaling, initializer_range=0.5, pad_token_id=0, bos_token_id=None,
        eos_token_id=1,
    )  # fmt: skip
    model, read = GraniteForCausalLM(config), rows(SHARED)
    labels = read.clone()
    labels[:, :SHARED] = IGNORED
    with torch.no_grad():
        expected = model(input_ids=read, labels=labels).loss.item()
    told: list[float] = []

    class Teller(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
            told.extend(value for name, value in logs.items() if name == "loss")

    examples = [Example(*pair) for pair in zip(read.tolist(), labels.tolist(), strict=True)]
    once: dict[str, Any] = {"seed": 0, "max_steps": 1, "per_device_train_batch_size": 3, "logging_steps": 1}
    fine_tune(model, load_policy("pilot").tokenizer, examples, tmp_path, [Teller()], bf16=False, **once)

    assert told == pytest.approx([expected], rel=1e-4)


@pytest.mark.parametrize(("shared", "passes"), [(SHARED, [SHARED, 3 * OWN]), (8, [3 * (8 + OWN)])])
def test_a_beginning_that_all_rows_share_is_read_once_where_it_is_long(
    model: Any, shared: int, passes: list[int]
) -> None:
    given = rows(shared)
    plain, gradients = learned(model, model.base_model(given, use_cache=False).last_hidden_state)
    sizes = read_by(model)

    found, own_gradients = learned(model, read_once(model.base_model, given))

    assert sizes == passes
    torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(own_gradients, gradients, rtol=1e-3, atol=1e-6)


def test_rows_that_are_all_the_same_are_read_but_for_their_last_token(model: Any) -> None:
    given = rows(SHARED)[:1].expand(2, -1)
    sizes = read_by(model)

    found = read_once(model.base_model, given)

    assert sizes == [SHARED + OWN - 1, 2]
    torch.testing.assert_close(found, model.base_model(given, use_cache=False).last_hidden_state, rtol=1e-4, atol=1e-5)
