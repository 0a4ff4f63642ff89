"""The loss looks at the policy's own tokens alone, and is TRL's to the last digit that matters."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_policy import make_tiny_policy, recipe

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("trl")

from trl import GRPOTrainer  # noqa: E402

from profilegym.training.grpo.loss import head_of, scores, scores_read_once  # noqa: E402
from profilegym.training.grpo.trainer import PR2Trainer  # noqa: E402
from profilegym.training.reading import changes_logits  # noqa: E402
from profilegym.training.train import train  # noqa: E402

ROWS, LENGTH, KEPT = 3, 12, 8


def model(**options: Any) -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, **options,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config)


def tokens() -> Any:
    return torch.randint(0, 50, (ROWS, LENGTH), generator=torch.Generator().manual_seed(1))


def plainly(policy: Any, ids: Any, wanted: Any, temperature: float) -> tuple[Any, Any]:
    """From the logits of every position."""
    logits = policy(input_ids=ids).logits[:, -KEPT - 1 : -1].float() / temperature
    logs = logits.log_softmax(-1)
    chosen = logs.gather(-1, ids[:, -KEPT:, None]).squeeze(-1)
    return chosen * wanted, -(logs.exp() * logs).sum(-1) * wanted


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_log_probabilities_entropies_and_gradients_are_those_of_all_logits(
    tied: bool, temperature: float, share: float
) -> None:
    policy, ids = model(tie_word_embeddings=tied), tokens()
    wanted = (torch.rand(ROWS, KEPT, generator=torch.Generator().manual_seed(2)) < share).long()
    weights = torch.linspace(-1, 1, ROWS * KEPT).view(ROWS, KEPT)

    found, gradients = [], []
    for values in (
        scores(policy, ids, torch.ones_like(ids), wanted, temperature, entropy_learns=True),
        plainly(policy, ids, wanted, temperature),
    ):
        policy.zero_grad()
        ((values[0] + 0.1 * values[1]) * weights).sum().backward()
        found.append([value.detach() for value in values])
        gradients.append([torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in policy.parameters()])

    for ours, theirs in zip(found[0] + gradients[0], found[1] + gradients[1], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def padded(shared: int, lengths: tuple[int, ...], kept: int) -> tuple[Any, Any]:
    """Rows that begin alike, with prompts that end where completions of `kept` tokens begin, and their mask."""
    draws = torch.Generator().manual_seed(3)
    longest, start = max(lengths), torch.randint(1, 50, (shared,), generator=draws)
    ids, mask = (torch.zeros(len(lengths), longest + kept, dtype=torch.long) for _ in range(2))
    for row, length in enumerate(lengths):
        said = kept - row  # completions differ in length, too
        ids[row, longest - length : longest + said] = torch.cat(
            [start, torch.randint(1, 50, (length - shared + said,), generator=draws)]
        )
        mask[row, longest - length : longest + said] = 1
    return ids, mask


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize(("shared", "reads"), [(40, 2), (5, 1)])
def test_what_all_rows_begin_with_is_read_once_and_nothing_changes(shared: int, reads: int, share: float) -> None:
    policy = model()
    ids, mask = padded(shared, (50, 44, 47), KEPT)
    wanted = (torch.rand(ROWS, KEPT, generator=torch.Generator().manual_seed(2)) < share).long() * mask[:, -KEPT:]
    weights = torch.linspace(-1, 1, ROWS * KEPT).view(ROWS, KEPT)
    passes: list[int] = []
    policy.get_input_embeddings().register_forward_hook(lambda _, given, __: passes.append(given[0].numel()))

    found, gradients = [], []
    for of in (scores, scores_read_once):
        passes.clear()
        policy.zero_grad()
        values = of(policy, ids, mask, wanted, 0.7, entropy_learns=True)
        ((values[0] + 0.1 * values[1]) * weights).sum().backward()
        found.append([value.detach() for value in values])
        gradients.append([torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in policy.parameters()])

    assert len(passes) == reads
    assert sum(passes) == (shared + ROWS * (50 + KEPT - shared) if reads == 2 else ROWS * (50 + KEPT))
    for ours, theirs in zip(found[1] + gradients[1], found[0] + gradients[0], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)
    assert share == 0 or any(gradient.any() for gradient in gradients[1])


def test_logits_are_made_at_the_wanted_positions_alone_and_the_head_is_as_it_was() -> None:
    policy, ids = model(), tokens()
    wanted = torch.zeros(ROWS, KEPT, dtype=torch.long)
    wanted[0, 2] = wanted[2, 5] = 1
    plain, positions = policy.lm_head.forward, []

    def watched(hidden: Any) -> Any:
        positions.append(len(hidden))
        return plain(hidden)

    policy.lm_head.forward = watched

    scores(policy, ids, torch.ones_like(ids), wanted, 1.0, entropy_learns=False)

    assert positions == [2]
    assert policy.lm_head.forward is watched
    assert policy(input_ids=ids).logits.shape == (ROWS, LENGTH, 50)


def test_the_head_of_a_wrapped_model_is_found() -> None:
    policy = model()

    assert head_of(SimpleNamespace(module=SimpleNamespace(module=policy))) is policy.lm_head


def test_a_model_that_changes_its_logits_is_left_to_trl() -> None:
    capped = transformers.Gemma2Config(vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=1)

    assert changes_logits(transformers.Gemma2ForCausalLM(capped))
    assert changes_logits(SimpleNamespace(config=transformers.FalconH1Config()))
    assert not changes_logits(model())


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"lora": {"rank": 4}}, {"optimiser": {"kl": 0.1, "loss": "grpo"}}])
def test_the_loss_of_a_step_and_its_gradient_are_trls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    compared = []
    ours: Any = PR2Trainer._compute_loss
    theirs_of: Any = GRPOTrainer._compute_loss

    class AsTRLDoes(PR2Trainer):
        """Which asks for the logits of every position."""

        _get_per_token_logps_and_entropies = GRPOTrainer._get_per_token_logps_and_entropies
        _compute_loss = GRPOTrainer._compute_loss

    def both(self: Any, policy: Any, inputs: Any) -> Any:
        kept = []
        for trainer, compute in ((_as_trl(self, AsTRLDoes), theirs_of), (self, ours)):
            policy.zero_grad()
            loss = compute(trainer, policy, inputs)
            loss.backward()
            kept.append((loss.detach(), [p.grad.clone() for p in policy.parameters() if p.grad is not None]))
        compared.append(kept)
        policy.zero_grad()
        return ours(self, policy, inputs)

    monkeypatch.setattr(PR2Trainer, "_compute_loss", both)
    changes = {"optimiser": {}, **changes}
    steps = {"steps": 1, "questions": 4, "learning_rate": 1e-3} | changes.pop("optimiser")
    asked = recipe(make_tiny_policy(tmp_path / "policy"), optimiser=steps, **changes)
    train(asked, tmp_path / "run", lambda step, metrics: None)

    ((theirs, mine),) = compared
    torch.testing.assert_close(mine[0], theirs[0], atol=1e-5, rtol=1e-5)
    assert any(gradient.abs().max() > 1e-4 for gradient in theirs[1])
    assert len(mine[1]) == len(theirs[1])
    for one, other in zip(mine[1], theirs[1], strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def _as_trl(trainer: Any, kind: type) -> Any:
    """The same trainer, with the methods of another class."""
    changed: Any = object.__new__(kind)
    changed.__dict__ = trainer.__dict__
    return changed
