"""A batch without what teaches nothing, and in parts without padding."""

from pathlib import Path
from typing import Any

import pytest
from tiny_policy import make_tiny_policy, recipe

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from profilegym.training.grpo import trainer as grpo  # noqa: E402
from profilegym.training.grpo.loss import by_length  # noqa: E402
from profilegym.training.train import train  # noqa: E402

PROMPTS, COMPLETIONS = [3, 1, 2, 4, 1], [2, 6, 1, 5, 3]  # tokens of each row


def batch() -> dict[str, Any]:
    """Rows whose every token is its row's number, prompts padded before and completions after."""
    rows = range(len(PROMPTS))
    prompts = torch.tensor([[0] * (4 - PROMPTS[row]) + [row + 1] * PROMPTS[row] for row in rows])
    completions = torch.tensor([[row + 1] * COMPLETIONS[row] + [0] * (6 - COMPLETIONS[row]) for row in rows])
    return {
        "prompt_ids": prompts,
        "prompt_mask": (prompts > 0).int(),
        "completion_ids": completions,
        "completion_mask": (completions > 0).int(),
        "tool_mask": torch.ones_like(completions),
        "old_per_token_logps": -completions.float(),
        "advantages": torch.tensor([float(row + 1) for row in rows]),
        "num_items_in_batch": torch.tensor(17),
    }


def test_each_row_is_in_one_part_with_all_that_belongs_to_it() -> None:
    parts = list(by_length(batch(), 16))

    assert sorted(number for part in parts for number in part["advantages"].tolist()) == [1, 2, 3, 4, 5]
    for part in parts:
        for row, number in enumerate(part["advantages"].int().tolist()):
            prompt, completion = part["prompt_ids"][row], part["completion_ids"][row]
            assert prompt[prompt > 0].tolist() == [number] * PROMPTS[number - 1]
            assert completion[completion > 0].tolist() == [number] * COMPLETIONS[number - 1]
            assert part["old_per_token_logps"][row].tolist() == (-completion).tolist()
        assert part["num_items_in_batch"] == 17


def test_each_part_is_as_wide_as_its_longest_row_and_the_long_rows_come_first() -> None:
    parts = list(by_length(batch(), 16))

    rows = [[int(number) - 1 for number in part["advantages"]] for part in parts]
    lengths = [[PROMPTS[row] + COMPLETIONS[row] for row in part] for part in rows]
    assert lengths == [[9], [7, 5], [4, 3]]
    for part, held in zip(parts, rows, strict=True):
        assert part["prompt_ids"].shape == part["prompt_mask"].shape == (len(held), max(PROMPTS[row] for row in held))
        for name in ("completion_ids", "completion_mask", "tool_mask", "old_per_token_logps"):
            assert part[name].shape == (len(held), max(COMPLETIONS[row] for row in held))


def test_a_row_that_is_longer_than_a_part_may_be_is_a_part_alone() -> None:
    assert [len(part["advantages"]) for part in by_length(batch(), 7)] == [1, 1, 1, 1, 1]
    assert [len(part["advantages"]) for part in by_length(batch(), 8)] == [1, 1, 1, 2]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_every_process_takes_as_many_parts_as_the_one_that_needs_most(count: int) -> None:
    parts = list(by_length(batch(), 1000, lambda own: max(own, count)))

    assert len(parts) == count
    assert sorted(number for part in parts for number in part["advantages"].tolist()) == [1, 2, 3, 4, 5]


@pytest.mark.slow
def test_a_loss_in_parts_and_its_gradient_are_those_of_the_whole_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    in_parts = grpo.PR2Trainer._compute_loss

    def both(self: Any, model: Any, inputs: Any) -> Any:
        found = []
        for compute in (in_parts, grpo.PR2Trainer._loss_of):
            model.zero_grad()
            loss = compute(self, model, inputs)
            loss.backward()
            found.append((loss.detach(), [p.grad.clone() for p in model.parameters()]))
        seen.append(found)
        model.zero_grad()
        widths = {part["completion_ids"].shape[1] for part in by_length(inputs, grpo._TOKENS["cpu"])}
        assert len(widths) > 1, "rows of one length have nothing to sort"
        return in_parts(self, model, inputs)

    monkeypatch.setattr(grpo.PR2Trainer, "_compute_loss", both)
    asked = recipe(make_tiny_policy(tmp_path / "policy"), optimiser={"steps": 1, "questions": 4, "learning_rate": 1e-3})
    train(asked, tmp_path / "run", lambda step, metrics: None)

    ((parts, whole),) = seen
    torch.testing.assert_close(parts[0], whole[0], atol=1e-5, rtol=0)
    assert any(gradient.abs().max() > 1e-3 for gradient in whole[1])
    for one, other in zip(parts[1], whole[1], strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
