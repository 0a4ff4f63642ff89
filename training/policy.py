"""The weights that a recipe starts from, and where they are kept when they have learned."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..agents.models.tokenize import AS_IS, ChatTemplate, template_of
from ..agents.models.weights import weights_of
from ..errors import MissingExtra
from .recipe import Lora

FINAL = "final"  # where a run keeps its policy


def trained_spec(model: str, out: Path) -> str:
    """The spec of the policy that the run in `out` made of `model`; it plays with the prompt of its training."""
    return f"hf:{out / FINAL}{template_of(model).spec}"


@dataclass(frozen=True, slots=True)
class Policy:
    """A transformers model, its tokenizer, and how its chat template is used."""

    model: Any
    tokenizer: Any
    template: ChatTemplate = AS_IS


def load_policy(spec: str, precision: str = "float32", lora: Lora | None = None) -> Policy:
    """From `pilot`, `smollm2` or `hf:PATH_OR_ID`, with `system=` and `template_NAME=` as options.

    Weights that learn are float32, whatever the precision of the arithmetic: at the learning rates of RL a step is
    smaller than bfloat16 can add to a weight. Weights that adapters stand beside do not learn, and need less.
    """
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise MissingExtra("training", "train") from error
    path, template = weights_of(spec), template_of(spec)
    kind = torch.bfloat16 if lora and precision == "bfloat16" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(path, dtype=kind, quantization_config=_quantised(lora, kind))
    return Policy(model, AutoTokenizer.from_pretrained(path), template)


def adapters(lora: Lora | None) -> Any:
    """PEFT's settings of the adapters that learn, or None where all weights do."""
    if lora is None:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        task_type="CAUSAL_LM",
    )


def _quantised(lora: Lora | None, kind: Any) -> Any:
    """In QLoRA's form, where the weights beside adapters have fewer than 16 bits."""
    if lora is None or lora.bits == 16:
        return None
    from transformers import BitsAndBytesConfig

    if lora.bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=kind)


def save_policy(model: Any, tokenizer: Any, folder: Path, state: dict[str, Any] | None = None) -> None:
    """As a plain transformers model that generates with its cache, which trainers switch off in its settings.

    `state` are the weights of a model that has but a part of them itself (`whole_state`).
    """
    if state is not None:
        model = _without_weights(model)
    elif hasattr(model, "get_base_model"):
        state, model = whole_state(model), model.get_base_model()
    settings = (model.config, model.generation_config)
    before = [one.use_cache for one in settings]
    try:
        for one in settings:
            one.use_cache = True
        model.save_pretrained(folder, **({} if state is None else {"state_dict": state}))
    finally:
        for one, used in zip(settings, before, strict=True):
            one.use_cache = used
    tokenizer.save_pretrained(folder)


def whole_state(model: Any, kept: bool = True) -> dict[str, Any]:
    """The weights in the memory of the CPU, with adapters added to those that they stand beside, one layer at a time.

    Where they are sharded, every process must call it; those that have not `kept` them get none.
    """
    import torch

    weights = _merged(model.get_base_model()) if hasattr(model, "get_base_model") else model.state_dict().items()
    state = {}
    with torch.no_grad():
        for name, weight in weights:
            whole = _whole(weight)
            if kept:
                state[name] = whole.cpu()
    return state


def is_sharded(model: Any) -> bool:
    """Whether this process has but a part of the weights (FSDP2)."""
    return any(hasattr(weight, "full_tensor") for weight in model.parameters())


def _without_weights(model: Any) -> Any:
    """A model of the same settings, to save it by: a sharded one would ask the other processes for its weights."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(model.config)
    plain.generation_config = model.generation_config
    return plain


def _whole(weight: Any) -> Any:
    """From all processes, where this one has a part of it."""
    return weight.full_tensor() if hasattr(weight, "full_tensor") else weight


def _merged(model: Any) -> Iterator[tuple[str, Any]]:
    """The weights that the model would have without adapters beside them."""
    from peft.tuners.lora import LoraLayer
    from peft.utils.integrations import dequantize_module_weight

    layers = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    for name, weight in model.state_dict().items():
        layer, _, part = name.partition(".base_layer.")
        if part == "weight" and layer in layers:
            plain = _whole(dequantize_module_weight(layers[layer].get_base_layer()))
            deltas = (layers[layer].get_delta_weight(adapter) for adapter in layers[layer].active_adapters)
            weight = (plain.float() + sum(map(_whole, deltas))).to(plain.dtype)
        if not part and any(name.startswith(f"{one}.") for one in layers):
            continue  # of an adapter
        yield f"{layer}.{part}" if part else name, weight
