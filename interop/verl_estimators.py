"""verl: this package's advantages as estimators, `profilegym_joint` and others, registered when this is imported."""

from typing import Any

from ..errors import MissingExtra
from ..training.advantage import Mode
from .estimators import MODES, grouped

try:
    import torch
    from verl.trainer.ppo.core_algos import register_adv_est
except ImportError as error:
    raise MissingExtra("the advantages of verl", "verl") from error


def _estimator(mode: Mode) -> Any:
    def estimate(token_level_rewards: Any, response_mask: Any, index: Any, **_: Any) -> tuple[Any, Any]:
        """A row that is masked as a whole is a control."""
        is_control = (response_mask.sum(dim=-1) == 0).tolist()
        found = grouped(mode, token_level_rewards.sum(dim=-1).tolist(), list(index), is_control)
        advantages = torch.tensor(found, device=response_mask.device).unsqueeze(-1) * response_mask
        return advantages, advantages

    return estimate


for _mode in MODES:
    register_adv_est(f"profilegym_{_mode}")(_estimator(_mode))
