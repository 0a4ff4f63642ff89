"""`python -m profilegym.benchmarks.loss WHOSE MODEL`: the GRPO loss and its gradient, ours or TRL's, in one process.

Both get the same tensors under the same settings: four rows of 1,200 tokens, of which 15 % are the policy's. It prints
the loss, the seconds of each pass, and the most memory that the process ever held.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ..agents.models.smollm2 import fetch

ROWS, PROMPT, TOKENS, SHARE = 4, 200, 1200, 0.15
PASSES = 1
WHOSE, MODELS = ("profilegym", "trl"), ("smollm2", "qwen2.5-0.5b-shape")
_TURN = 30  # tokens that the policy writes at a time


def measure(model: str, rounds: int = 2) -> dict[str, Any]:
    """Time and peak memory of ours over TRL's, in interleaved processes."""
    found: dict[str, list[dict[str, Any]]] = {whose: [] for whose in WHOSE}
    for _ in range(rounds):
        for whose in WHOSE:
            found[whose].append(_in_a_process(whose, model))
    seconds, cpu = (
        {whose: _median(runs, name) for whose, runs in found.items()} for name in ("seconds", "cpu_seconds")
    )
    peaks = {whose: max(run["peak_mb"] for run in runs) for whose, runs in found.items()}
    losses = {whose: runs[0]["loss"] for whose, runs in found.items()}
    norms = {whose: runs[0]["gradient_norm"] for whose, runs in found.items()}
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_mb": peaks,
        "loss": losses,
        "gradient_norm": norms,
        "time_over_trl": seconds["profilegym"] / seconds["trl"],
        "cpu_time_over_trl": cpu["profilegym"] / cpu["trl"],  # what other work on the machine changes less
        "memory_over_trl": peaks["profilegym"] / peaks["trl"],
    }


def _median(runs: list[dict[str, Any]], name: str) -> float:
    return float(statistics.median(value for run in runs for value in run[name]))


def _in_a_process(whose: str, model: str) -> dict[str, Any]:
    command = [sys.executable, "-m", __name__, whose, model]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 (both are of fixed sets)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def run(whose: str, name: str) -> dict[str, Any]:
    """One of the two, here."""
    import torch

    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(whose, name, Path(folder))
        inputs = _inputs(trainer.model.config.vocab_size)
        seconds, cpu_seconds = [], []
        for _ in range(PASSES):
            trainer.model.zero_grad(set_to_none=True)
            start, cpu_start = time.perf_counter(), time.process_time()
            loss = trainer._compute_loss(trainer.model, inputs)
            loss.backward()
            seconds.append(time.perf_counter() - start)
            cpu_seconds.append(time.process_time() - cpu_start)
        norm = torch.nn.utils.get_total_norm([p.grad for p in trainer.model.parameters() if p.grad is not None])
    return {
        "loss": loss.item(),
        "gradient_norm": norm.item(),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _trainer(whose: str, name: str, folder: Path) -> Any:
    from transformers import AutoTokenizer
    from trl import GRPOTrainer

    from ..envs.data import load_questions
    from ..rewards import make_reward
    from ..training.grpo.trainer import PR2Trainer
    from ..training.policy import Policy, load_policy
    from ..training.recipe import load_recipe

    class AsTRLDoes(PR2Trainer):
        """The same trainer with TRL's own loss."""

        _compute_loss = GRPOTrainer._compute_loss
        _get_per_token_logps_and_entropies = GRPOTrainer._get_per_token_logps_and_entropies

    recipe = load_recipe("pr2-world")
    policy = load_policy("smollm2") if name == "smollm2" else Policy(_qwen(), AutoTokenizer.from_pretrained(fetch()))
    kind = AsTRLDoes if whose == "trl" else PR2Trainer
    questions = load_questions("world:users=10/test")
    trainer = kind(recipe, policy, questions, make_reward("rubric"), lambda played: None, folder)
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    return trainer


def _qwen() -> Any:
    """Of Qwen2.5-0.5B's shape, with random weights."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=151936,
            hidden_size=896,
            intermediate_size=4864,
            num_hidden_layers=24,
            num_attention_heads=14,
            num_key_value_heads=2,
            tie_word_embeddings=True,
        )
    )


def _inputs(vocabulary: int) -> dict[str, Any]:
    import torch

    chance = torch.Generator().manual_seed(0)
    completion = TOKENS - PROMPT
    turns = torch.zeros(ROWS, completion, dtype=torch.long)
    every = int(_TURN / (SHARE * TOKENS) * completion)
    for start in range(0, completion - _TURN, every):
        turns[:, start : start + _TURN] = 1
    return {
        "prompt_ids": torch.randint(10, vocabulary, (ROWS, PROMPT), generator=chance),
        "prompt_mask": torch.ones(ROWS, PROMPT, dtype=torch.long),
        "completion_ids": torch.randint(10, vocabulary, (ROWS, completion), generator=chance),
        "completion_mask": torch.ones(ROWS, completion, dtype=torch.long),
        "tool_mask": turns,
        "advantages": torch.tensor([1.0, -0.5, 0.25, -0.25]),
        "num_items_in_batch": turns.sum(),
    }


if __name__ == "__main__":
    print(json.dumps(run(*sys.argv[1:3])))
