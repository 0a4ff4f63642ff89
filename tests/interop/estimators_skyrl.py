"""SkyRL: every estimator of this package, and its own GRPO, as its trainer calls them; on the shared values."""

import json

import numpy as np
import older_python  # noqa: F401
import torch
from skyrl.backends.skyrl_train.utils.ppo_utils import compute_advantages_and_returns
from values import EXPECTED, UNDIVIDED, groups, masks, token_rewards

from profilegym.errors import OptionError
from profilegym.interop.skyrl_train import register_estimators


def first(name: str, rewards: list[list[float]], mask: list[list[int]], divided: bool = True) -> list[float]:
    """The advantage at the first token of each row."""
    given = {"token_level_rewards": torch.tensor(rewards), "response_mask": torch.tensor(mask)}
    index = np.array(groups()[: len(rewards)])
    advantages, _ = compute_advantages_and_returns(
        **given, index=index, adv_estimator=name, config=None, grpo_norm_by_std=divided
    )
    return [float(value) for value in advantages[:, 0]]


def code_without_a_deviation() -> str:
    try:
        return str(first("profilegym_code", token_rewards(), ones, divided=False))
    except OptionError as error:
        return str(error)


register_estimators(controls=1)
ones = [[1, 1, 1] for _ in masks()]  # its trainer gives a mask of the response, not of the loss
ours = {mode: first(f"profilegym_{mode}", token_rewards(), ones) for mode in EXPECTED}
undivided = {mode: first(f"profilegym_{mode}", token_rewards(), ones, divided=False) for mode in UNDIVIDED}
own = [first("grpo", token_rewards()[:5], ones[:5], divided) for divided in (True, False)]
print(json.dumps({"ours": ours, "undivided": undivided, "own": own, "refused": code_without_a_deviation()}))
