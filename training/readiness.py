"""Asks, for a dry run, whether TRL takes the settings and whether the servers of a recipe are there and fit."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from .._util.counted import counted
from .._util.keys import hidden
from .._util.web import without_login
from ..agents.models.weights import weights_of
from .checks import judges_of
from .processes import Processes
from .recipe import BaseRecipe, PolicyRecipe, Recipe

State = Literal["fine", "missing", "unfit"]
_SECONDS = 3.0  # for an answer
_JUDGE = re.compile(r"openai:([^,+]+)([^+]*)")  # model and options; + joins the terms of a reward
_STALENESS = 4  # TRL's default
_TOKENS_A_CHARACTER = 0.3  # of English, on the safe side
_PROMPT = 512  # tokens of the instructions and the question


@dataclass(frozen=True, slots=True)
class Readiness:
    """An answer: `missing` is none, which may change before the run; `unfit` cannot be used."""

    what: str
    state: State
    found: str


class _Silent(Exception):
    """No answer."""


class _Refused(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


def readiness_of(recipe: BaseRecipe) -> Iterator[Readiness]:
    """TRL's config first, then each server once."""
    if isinstance(recipe, Recipe) and all(map(find_spec, ("torch", "transformers", "trl"))):
        yield _trl(recipe)
    if isinstance(recipe, PolicyRecipe) and recipe.generation.vllm_server is not None:
        for url in recipe.generation.vllm_server.split("|"):
            yield _vllm(recipe, url.rstrip("/"))
    for model, url in dict.fromkeys(_endpoints(recipe)):
        yield _judge(model, url)


def longest_episode(recipe: BaseRecipe) -> int:
    """Tokens of the prompt, of all hits at their full length, and of the policy; estimated from characters."""
    episode, drawn = recipe.episode, recipe.generation
    read = episode.max_searches * episode.top_k * episode.hit_chars * _TOKENS_A_CHARACTER
    return _PROMPT + round(read) + drawn.max_tokens


def _trl(recipe: Recipe) -> Readiness:
    """The config that a run would make, in this process: a GPU's support of bfloat16 is checked where there is one."""
    import torch

    name = "AsyncGRPOConfig" if recipe.generation.engine == "vllm-server" else "GRPOConfig"
    try:
        made = _config(recipe)
    except (ImportError, NotImplementedError, TypeError, ValueError) as error:
        return Readiness(f"TRL's {name}", "unfit", str(error))
    rows, passes = made.per_device_train_batch_size, made.gradient_accumulation_steps * Processes.launched().count
    told = f"a step of {rows * passes} rows, {rows} in a pass: "
    told += f"{counted(passes, 'pass', 'passes')} for all processes together"
    if recipe.precision == "bfloat16" and not torch.cuda.is_available():
        told += "; no GPU here, so whether it computes in bfloat16 was not checked"
    return Readiness(f"TRL's {name}", "fine", told)


def _config(recipe: Recipe) -> Any:
    if recipe.generation.engine == "vllm-server":
        from .grpo.async_trainer import async_config

        return async_config(recipe, Path("runs"))
    from .grpo.config import config

    return config(recipe, Path("runs"))


def _vllm(recipe: PolicyRecipe, url: str) -> Readiness:
    what = f"vLLM at {url}"
    try:
        card = next((card for card in _get(f"{url}/v1/models")["data"] if not card.get("parent")), None)
        if card is None:
            return Readiness(what, "unfit", "it serves no model")
        config = _server_info(url)
        problems = [*_wrong_model(recipe, card), *(_wrong_config(recipe, url, config) if config else (_NO_CONTROL,))]
    except _Silent as error:
        return Readiness(what, "missing", f"not up: {error}")
    except (_Refused, AttributeError, KeyError, TypeError, ValueError) as error:
        return Readiness(what, "unfit", f"it does not answer as vLLM does: {error!r}")
    if problems:
        return Readiness(what, "unfit", "; ".join(problems))
    return Readiness(what, "fine", _praise(recipe, card, config or {}))


_NO_CONTROL = "it cannot be paused for new weights: start it with VLLM_SERVER_DEV_MODE=1"


def _server_info(url: str) -> Mapping[str, Any] | None:
    """vLLM's settings. None without its development mode, which training needs."""
    try:
        found: Mapping[str, Any] = _get(f"{url}/server_info?config_format=json")["vllm_config"]
    except _Refused as error:
        if error.status != 404:
            raise
        return None
    return found


def _wrong_model(recipe: PolicyRecipe, card: Mapping[str, Any]) -> Iterator[str]:
    weights = weights_of(recipe.model)
    names = {str(card["id"]), str(card.get("root"))}
    on_hub = f"models--{weights.replace('/', '--')}/"  # how a cache of the hub names a folder
    if weights not in names and not any(on_hub in name or Path(name).name == Path(weights).name for name in names):
        yield f"it serves {card['id']}, not {weights}"
    if card["max_model_len"] <= recipe.generation.max_tokens:
        yield (
            f"its context of {card['max_model_len']} tokens has no room for generation.max_tokens="
            f"{recipe.generation.max_tokens} and a prompt: start it with --max-model-len {longest_episode(recipe)}"
        )


def _wrong_config(recipe: PolicyRecipe, url: str, config: Mapping[str, Any]) -> Iterator[str]:
    mode = config["model_config"].get("logprobs_mode")
    if recipe.generation.temperature != 1 and mode != "processed_logprobs":
        yield f"its log-probabilities are {mode}: start it with --logprobs-mode processed_logprobs"
    if recipe.lora is None:
        if "weight_transfer_config" in config and config["weight_transfer_config"] is None:
            yield """it takes no weights: start it with --weight-transfer-config '{"backend": "nccl"}'"""
        return
    lora, adapters = config["lora_config"], recipe.trl.get("max_staleness", _STALENESS) + 2
    if lora is None:
        yield f"it takes no adapters: start it with --enable-lora --max-lora-rank {recipe.lora.rank}"
        return
    most, rank = lora["max_lora_rank"], recipe.lora.rank
    if most < rank:
        yield f"its adapters have rank {most} at most: start it with --max-lora-rank {rank}"
    if lora["max_loras"] < adapters:
        yield f"it keeps {lora['max_loras']} adapters: start it with --max-loras {adapters}"
    if config["parallel_config"]["data_parallel_size"] > 1:
        yield "an adapter reaches one of its replicas alone: start several servers in place of --data-parallel-size"
    if not _exists(f"{url}/v1/load_lora_adapter"):
        yield "it takes no adapters while it runs: start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"


def _praise(recipe: PolicyRecipe, card: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    context, longest = card["max_model_len"], longest_episode(recipe)
    told = [f"{card['id']}, {context:,} tokens"]
    if context < longest:
        told.append(f"an episode can have about {longest:,}, and ends there as context")
    if recipe.lora is not None:
        lora = config["lora_config"]
        told.append(f"{lora['max_loras']} adapters of rank {lora['max_lora_rank']} at most")
    told.append(str(config["model_config"].get("logprobs_mode")))
    return ", ".join(told)


def _endpoints(recipe: BaseRecipe) -> Iterator[tuple[str, str]]:
    """The model and the base URL of each evaluator LLM whose endpoint is named."""
    for spec in judges_of(recipe):
        for model, options in _JUDGE.findall(spec):
            named = re.search(r",base_url=([^,]+)", options)
            url = named[1] if named else os.environ.get("OPENAI_BASE_URL")
            if url:
                yield model, url.rstrip("/")


def _judge(model: str, url: str) -> Readiness:
    what = f"judge at {url}"
    try:
        names = [str(card["id"]) for card in _get(f"{url}/models", os.environ.get("OPENAI_API_KEY"))["data"]]
    except _Silent as error:
        return Readiness(what, "missing", f"not up: {error}")
    except _Refused as error:
        if error.status in (401, 403):
            return Readiness(what, "unfit", f"it refuses the key in OPENAI_API_KEY ({error})")
        return Readiness(what, "fine", f"it answers, and lists no models ({error})")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return Readiness(what, "unfit", f"it does not answer as an OpenAI-compatible endpoint does: {error!r}")
    if model in names:
        return Readiness(what, "fine", f"it serves {model}")
    return Readiness(what, "unfit", f"it serves {', '.join(names) or 'no model'}, not {model}")


def _get(url: str, key: str | None = None) -> Any:
    """The JSON at an address that the recipe or the environment names."""
    if not url.startswith(("http://", "https://")):
        raise _Silent(f"{hidden(url)} must begin with http:// or https://")
    address, login = without_login(url)
    headers = {"Authorization": f"Bearer {key}"} if key else login
    try:
        with urlopen(Request(address, headers=headers), timeout=_SECONDS) as reply:  # noqa: S310 (checked)
            return json.loads(reply.read())
    except HTTPError as error:
        with error:
            raise _Refused(error.code) from None
    except (OSError, HTTPException) as error:  # also of an address that cannot be read
        raise _Silent(str(getattr(error, "reason", error))) from None


def _exists(url: str) -> bool:
    """Whether there is such a path; it is not called, as it wants another method."""
    try:
        _get(url)
    except _Refused as error:
        return error.status != 404
    return True
