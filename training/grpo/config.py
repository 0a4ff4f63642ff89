"""The recipe in TRL's words."""

import os
from pathlib import Path
from typing import Any

import torch
from trl import GRPOConfig

from ...agents.models.model import stops_for
from ..recipe import Recipe
from ..trl_fields import checkpointing

# vLLM's log-probabilities are those of the nucleus, the trainer's are not. A token's ratio to them is the mass of its
# nucleus, top_p or more; over a whole episode, as is TRL's default, the product of all would be next to nothing.
_BY_TOKEN = {"vllm_importance_sampling_mode": "token_truncate"}


def config(recipe: Recipe, folder: Path) -> Any:
    """TRL's settings of the run; what the recipe says under `trl` is among them."""
    return GRPOConfig(**(_decided(recipe, folder) | recipe.trl))


def _decided(recipe: Recipe, folder: Path) -> dict[str, Any]:
    return {
        **shared(recipe, folder, recipe.optimiser.questions * recipe.sequences),
        "num_generations": recipe.group.size,
        "beta": recipe.optimiser.kl,
        "loss_type": recipe.optimiser.loss,
        "top_p": recipe.generation.top_p,
        "dataloader_pin_memory": torch.cuda.is_available(),
        **_vllm(recipe),
    }


def shared(recipe: Recipe, folder: Path, sequences: int) -> dict[str, Any]:
    """What both trainers are told; a step trains on so many sequences."""
    optimiser, watch = recipe.optimiser, recipe.watch
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    rows = optimiser.rows or max(1, sequences // processes)
    return {
        "output_dir": str(folder / "checkpoints"),
        "max_steps": optimiser.steps,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": max(1, sequences // (rows * processes)),
        "learning_rate": optimiser.learning_rate,
        "lr_scheduler_type": {"constant": "constant_with_warmup"}.get(optimiser.schedule, optimiser.schedule),
        "warmup_steps": optimiser.warmup,
        "weight_decay": optimiser.weight_decay,
        "max_grad_norm": optimiser.max_grad_norm,
        "optim": optimiser.name,
        "epsilon": optimiser.clip,
        "epsilon_high": optimiser.clip_high,
        "temperature": recipe.generation.temperature,
        "bf16": recipe.precision == "bfloat16",
        "use_cpu": not torch.cuda.is_available(),
        **checkpointing(GRPOConfig, recipe.gradient_checkpointing),
        "seed": recipe.seed,
        "save_steps": watch.save,
        "save_total_limit": watch.keep,
        "logging_steps": 1,
        "report_to": list(watch.report_to) or "none",
        "disable_tqdm": True,
    }


def _vllm(recipe: Recipe) -> dict[str, Any]:
    generation, episode = recipe.generation, recipe.episode
    if generation.engine == "transformers":
        return {}
    return {
        "use_vllm": True,
        "vllm_mode": "colocate",
        "vllm_gpu_memory_utilization": generation.vllm_memory,
        "max_completion_length": generation.turn_tokens,
        **(_BY_TOKEN if generation.top_p < 1 else {}),
        "generation_kwargs": {
            "stop": list(stops_for(episode.protocol, episode.made.get("tools") is not None)),
            "include_stop_str_in_output": True,
        },
    }
