"""SkyRL's trainer: the control as a member of each group, and this package's advantages as estimators of its own."""

from collections.abc import Mapping
from typing import Any

from ..errors import MissingExtra
from ..training.advantage import Mode
from .estimators import MODES, grouped, last_of_each, require_own, scale_of

try:
    import torch
    from skyrl.backends.skyrl_train.utils.ppo_utils import register_advantage_estimator
    from skyrl.train.generators.skyrl_gym_generator import SkyRLGymGenerator
except ImportError as error:
    raise MissingExtra("the generator of SkyRL", "skyrl") from error


class ProfileGenerator(SkyRLGymGenerator):
    """SkyRL's own generator, in which the last `controls` members of a group play the control while it trains.

    Their tokens are masked, as they are never trained. `n_samples_per_prompt` counts them.
    """

    controls = 1

    async def agent_loop(
        self,
        prompt: Any,
        env_class: str,
        env_extras: Mapping[str, Any],
        *arguments: Any,
        trajectory_id: Any = None,
        training_phase: str = "train",
        **options: Any,
    ) -> Any:
        require_own(self.generator_cfg.n_samples_per_prompt, self.controls, "generator.n_samples_per_prompt")
        own = self.generator_cfg.n_samples_per_prompt - self.controls
        is_control = training_phase == "train" and trajectory_id is not None and trajectory_id.repetition_id >= own
        extras = {**env_extras, "kind": "baseline" if is_control else "personalised"}
        output = await super().agent_loop(
            prompt, env_class, extras, *arguments, trajectory_id=trajectory_id, training_phase=training_phase, **options
        )
        for part in getattr(output, "step_outputs", [output]) if is_control else ():
            part.loss_mask = [0] * len(part.loss_mask)
        return output


def register_estimators(controls: int = ProfileGenerator.controls) -> None:
    """Register `profilegym_joint`, `_delta`, `_code` and `_none` for `trainer.algorithm.advantage_estimator`.

    SkyRL gives an estimator no loss mask, so the control is the last `controls` rows of each group. No deviation
    divides the advantages where its own `trainer.algorithm.grpo_norm_by_std` is False.
    """
    for mode in MODES:
        register_advantage_estimator(f"profilegym_{mode}")(_estimator(mode, controls))


def _estimator(mode: Mode, controls: int) -> Any:
    def estimate(
        token_level_rewards: Any, response_mask: Any, index: Any, grpo_norm_by_std: bool = True, **_: Any
    ) -> tuple[Any, Any]:
        groups, scale = list(index), scale_of(mode, grpo_norm_by_std, "trainer.algorithm.grpo_norm_by_std")
        found = grouped(mode, token_level_rewards.sum(dim=-1).tolist(), groups, last_of_each(groups, controls), scale)
        advantages = torch.tensor(found, device=response_mask.device).unsqueeze(-1) * response_mask
        return advantages, advantages

    return estimate
