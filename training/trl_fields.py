"""Which of TRL's fields a recipe sets under names of its own; any other may stand under `trl:`."""

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

GRPO: Mapping[str, str] = {  # TRL's field -> the recipe's setting
    "activation_checkpointing": "gradient_checkpointing",
    "beta": "optimiser.kl",
    "bf16": "precision",
    "epsilon": "optimiser.clip",
    "epsilon_high": "optimiser.clip_high",
    "generation_batch_size": "optimiser.questions and group",
    "gradient_accumulation_steps": "optimiser.rows",
    "gradient_checkpointing": "gradient_checkpointing",
    "learning_rate": "optimiser.learning_rate",
    "loss_type": "optimiser.loss",
    "lr_scheduler_type": "optimiser.schedule",
    "max_completion_length": "generation.turn_tokens and generation.max_tokens",
    "max_grad_norm": "optimiser.max_grad_norm",
    "max_steps": "optimiser.steps",
    "num_generations": "group.personalised and group.baseline",
    "optim": "optimiser.name",
    "per_device_train_batch_size": "optimiser.rows",
    "report_to": "watch.report_to",
    "save_steps": "watch.save",
    "save_total_limit": "watch.keep",
    "scale_rewards": "scale_rewards",
    "seed": "seed",
    "steps_per_generation": "optimiser.questions and optimiser.rows",
    "temperature": "generation.temperature",
    "top_p": "generation.top_p",
    "use_vllm": "generation.engine",
    "vllm_gpu_memory_utilization": "generation.vllm_memory",
    "vllm_mode": "generation.engine",
    "vllm_server_base_url": "generation.vllm_server",
    "warmup_steps": "optimiser.warmup",
    "weight_decay": "optimiser.weight_decay",
}
SFT: Mapping[str, str] = {
    "activation_checkpointing": "gradient_checkpointing",
    "bf16": "precision",
    "gradient_checkpointing": "gradient_checkpointing",
    "learning_rate": "optimiser.learning_rate",
    "lr_scheduler_type": "optimiser.schedule",
    "max_steps": "optimiser.steps",
    "per_device_train_batch_size": "optimiser.batch",
    "seed": "seed",
    "warmup_steps": "optimiser.warmup",
}
FIXED = (  # by how this package uses TRL
    "dataloader_pin_memory", "dataset_kwargs", "deepspeed", "disable_tqdm", "eval_packing", "fsdp", "fsdp_config",
    "generation_kwargs", "logging_steps", "mask_truncated_completions", "output_dir", "packing", "pad_to_multiple_of",
    "padding_free", "remove_unused_columns", "save_strategy", "train_sampling_strategy", "use_cpu", "use_liger_kernel",
)  # fmt: skip


def checkpointing(config: Any, on: bool) -> dict[str, bool]:
    """The field that recomputes activations: `activation_checkpointing` since transformers 5.23."""
    new = "activation_checkpointing"
    return {new if new in config.__dataclass_fields__ else "gradient_checkpointing": on}


def wrong_fields(given: Mapping[str, Any], ours: Mapping[str, str], known: Collection[str]) -> Iterator[str]:
    """What is wrong with the fields that a recipe gives under `trl`."""
    for name in given:
        if name in ours:
            yield f"trl.{name} is what the recipe says as {ours[name]}: set it there"
        elif name in FIXED:
            yield f"trl.{name} is fixed by how rollouts and lessons are made here: leave it out"
        elif name not in known:
            near = get_close_matches(name, known, 1)
            yield f"trl.{name}: TRL has no such field" + (f"; did you mean {near[0]}?" if near else "")
