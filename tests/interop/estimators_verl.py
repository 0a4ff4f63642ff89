"""verl: every estimator of this package, and its own GRPO, as its trainer calls them; on the shared values."""

import json

import numpy as np
import torch
from values import EXPECTED, groups, masks, token_rewards
from verl import DataProto
from verl.trainer.ppo.ray_trainer import compute_advantage

import profilegym.interop.verl_estimators  # noqa: F401


def first(name: str, rewards: list[list[float]], mask: list[list[int]]) -> list[float]:
    """The advantage at the first token of each row."""
    data = DataProto.from_dict(
        {"token_level_rewards": torch.tensor(rewards), "response_mask": torch.tensor(mask)},
        {"uid": np.array(groups()[: len(rewards)], dtype=object)},
    )
    return [float(value) for value in compute_advantage(data, name, config={}).batch["advantages"][:, 0]]


ours = {mode: first(f"profilegym_{mode}", token_rewards(), masks()) for mode in EXPECTED}
print(json.dumps({"ours": ours, "its own": first("grpo", token_rewards()[:5], masks()[:5])}))
