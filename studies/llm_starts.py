"""What a warm start's adapters changed, kept in a small file: runs on other machines begin with the same policy."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .._util.files import whole_folder
from ..training.policy import load_policy, save_policy

RANK = 16  # of the recipes' adapters


def pack(base: str, learned: Path, file: Path, told: Mapping[str, str]) -> None:
    """Each change of a weight as two factors in float16, a hundredth of the model; `told` is kept with them."""
    import torch
    from safetensors.torch import save_file

    before, after = (load_policy(spec).model.state_dict() for spec in (base, f"hf:{learned}"))
    factors: dict[str, Any] = {}
    for name, weight in after.items():
        change = weight - before[name]
        if change.any():
            left, sizes, right = torch.linalg.svd(change, full_matrices=False)
            share = sizes[:RANK].sqrt()
            factors[f"{name}.left"] = (left[:, :RANK] * share).half().contiguous()
            factors[f"{name}.right"] = (share[:, None] * right[:RANK]).half().contiguous()
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(factors, file, dict(told))


def unpack(base: str, file: Path, out: Path) -> None:
    """The policy that was packed, but for what float16 rounds of its changes."""
    import torch
    from safetensors.torch import load_file

    policy, factors = load_policy(base), load_file(file)
    weights = policy.model.state_dict()
    with torch.no_grad():
        for name in (key.removesuffix(".left") for key in factors if key.endswith(".left")):
            weights[name] += factors[f"{name}.left"].float() @ factors[f"{name}.right"].float()
    with whole_folder(out) as unfinished:
        save_policy(policy.model, policy.tokenizer, unfinished)


def told_of(file: Path) -> dict[str, str]:
    """What was kept with a packed policy."""
    from safetensors import safe_open

    with safe_open(file, "np") as opened:
        found: dict[str, str] = opened.metadata()
    return found
