"""verl: every estimator of this package, and its own GRPO, as its trainer calls them; on the shared values."""

import json

import numpy as np
import torch
from values import EXPECTED, UNDIVIDED, groups, masks, token_rewards
from verl import DataProto
from verl.trainer.config import AlgoConfig
from verl.trainer.ppo.ray_trainer import compute_advantage

import profilegym.interop.verl_estimators  # noqa: F401
from profilegym.errors import OptionError


def first(name: str, rewards: list[list[float]], mask: list[list[int]], divided: bool = True) -> list[float]:
    """The advantage at the first token of each row."""
    config = AlgoConfig(norm_adv_by_std_in_grpo=divided)
    data = DataProto.from_dict(
        {"token_level_rewards": torch.tensor(rewards), "response_mask": torch.tensor(mask)},
        {"uid": np.array(groups()[: len(rewards)], dtype=object)},
    )
    found = compute_advantage(data, name, norm_adv_by_std_in_grpo=divided, config=config)
    return [float(value) for value in found.batch["advantages"][:, 0]]


def code_without_a_deviation() -> str:
    try:
        return str(first("profilegym_code", token_rewards(), masks(), divided=False))
    except OptionError as error:
        return str(error)


ours = {mode: first(f"profilegym_{mode}", token_rewards(), masks()) for mode in EXPECTED}
undivided = {mode: first(f"profilegym_{mode}", token_rewards(), masks(), divided=False) for mode in UNDIVIDED}
own = [first("grpo", token_rewards()[:5], masks()[:5], divided) for divided in (True, False)]
print(json.dumps({"ours": ours, "undivided": undivided, "own": own, "refused": code_without_a_deviation()}))
