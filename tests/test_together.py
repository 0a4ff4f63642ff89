"""Two processes that teach one model, and one that teaches it alone."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from profilegym.training.together import Member, learn_together

torch = pytest.importorskip("torch")
pytest.importorskip("trl")


def test_of_ten_examples_three_processes_take_three_each() -> None:
    assert [list(Member(place, 3).own(range(10))) for place in range(3)] == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


def taught(folder: Path, steps: int, member: Member) -> Any:
    """The weights after so many batches, from the same beginning for every member."""
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    from profilegym.agents.models.pilot import FOLDER
    from profilegym.training.sft import Example, fine_tune

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "head_dim": 8}
    model = Qwen3ForCausalLM(Qwen3Config(vocab_size=64, num_attention_heads=2, num_key_value_heads=2, **sizes))
    examples = [Example(tokens, [-100, *tokens[1:]]) for tokens in torch.randint(64, (50, 12)).tolist()]
    settings = {"learning_rate": 0.05, "seed": 1, "disable_tqdm": True, "optim": "sgd", "max_steps": steps}
    fine_tune(model, AutoTokenizer.from_pretrained(FOLDER), examples, folder, 4, member=member, **settings)
    return {name: weights.detach() for name, weights in model.named_parameters()}


def test_two_learn_what_one_learns_from_the_same_batches(tmp_path: Path) -> None:
    begun, alone = (taught(tmp_path, steps, Member()) for steps in (1, 12))
    together = learn_together(2, tmp_path, partial(taught, tmp_path, 12))

    assert all(torch.allclose(alone[name], together[name], atol=1e-4) for name in alone)
    assert not torch.allclose(alone["lm_head.weight"], begun["lm_head.weight"], atol=1e-3)
