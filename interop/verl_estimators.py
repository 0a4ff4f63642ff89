"""verl: this package's advantages as estimators, `profilegym_joint` and others, registered when this is imported.

No deviation divides them where verl's own `algorithm.norm_adv_by_std_in_grpo` is False.
"""

from typing import Any

from ..errors import MissingExtra
from ..training.advantage import Mode
from .estimators import MODES, grouped, scale_of

try:
    import torch
    from verl.trainer.ppo.core_algos import register_adv_est
except ImportError as error:
    raise MissingExtra("the advantages of verl", "verl") from error


_DIVIDES = "norm_adv_by_std_in_grpo"


def _estimator(mode: Mode) -> Any:
    def estimate(token_level_rewards: Any, response_mask: Any, index: Any, config: Any, **_: Any) -> tuple[Any, Any]:
        """A row that is masked as a whole is a control."""
        is_control = (response_mask.sum(dim=-1) == 0).tolist()
        scale = scale_of(mode, config.get(_DIVIDES, True), f"algorithm.{_DIVIDES}")
        found = grouped(mode, token_level_rewards.sum(dim=-1).tolist(), list(index), is_control, scale)
        advantages = torch.tensor(found, device=response_mask.device).unsqueeze(-1) * response_mask
        return advantages, advantages

    return estimate


for _mode in MODES:
    register_adv_est(f"profilegym_{_mode}")(_estimator(_mode))
