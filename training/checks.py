"""Checks of a recipe before anything is loaded: its problems, missing packages, and what cannot be checked here."""

import os
import re
from collections.abc import Callable, Collection, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..agents.agent import make_agent
from ..agents.models.model import MODELS
from ..agents.models.weights import weights_of
from ..envs.data import lamp_qa
from ..envs.data.spec import read_spec
from ..envs.retrieval import make_retriever
from ..envs.retrieval.retriever import RETRIEVERS
from ..errors import MissingExtra, ProfileGymError
from ..rewards import make_reward
from .lessons import SFTRecipe
from .processes import sharding_problems
from .recipe import BaseRecipe, PolicyRecipe, Recipe
from .reward_models.train import RewardModelRecipe
from .trl_fields import GRPO, SFT, wrong_fields

_ON_HUB = re.compile(
    rf"lamp-qa:({'|'.join(lamp_qa.CONFIGS)})/({'|'.join(lamp_qa.SPLITS)})|longlamp-\d:\w+_(user|temporal)/(train|val|test)"
)
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")
_QUICK = ("bm25", "random", "recency")  # retrievers that load no files
_PACKAGES = ("torch", "transformers", "trl", "accelerate", "datasets")
_CACHE = re.compile(r",cache=[^,+]*")  # a check must not create the judge's cache


def problems_of(recipe: BaseRecipe, to_come: Collection[str] = ()) -> list[str]:
    """Unknown names, invalid options, and a batch that the processes cannot share.

    Specs that name a folder in `to_come`, which an earlier stage will write, are not checked.
    """
    found = [problem for spec, make in _makers(recipe) if not _waits(spec, to_come) and (problem := _failure(make))]
    launched = [*_shares(recipe), *_gpus_without_a_launcher(), *sharding_problems(recipe.generation.engine)]
    return list(dict.fromkeys([*found, *launched, *_trl_fields(recipe)]))


def unchecked_in(recipe: BaseRecipe, to_come: Collection[str] = ()) -> list[str]:
    """What this machine cannot check: downloads, endpoints, a GPU."""
    waiting = [f"written by an earlier stage: {spec}" for spec, _ in _makers(recipe) if _waits(spec, to_come)]
    return [*waiting, *_not_downloaded(recipe), *_not_asked(recipe), *_no_gpu(recipe)]


def missing_packages(recipe: BaseRecipe) -> list[str]:
    """Packages that the run needs and that are not installed here."""
    return list(_missing(recipe))


def is_on_hub(data: str) -> bool:
    """Whether the spec, if it is valid, names a data set to download."""
    return _ON_HUB.fullmatch(read_spec(data).plain) is not None


def _makers(recipe: BaseRecipe) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Each spec, with a function that makes it or looks up how."""
    for agent in _agents(recipe):
        yield agent, partial(make_agent, agent)
    yield recipe.retriever, partial(make_retriever if recipe.retriever in _QUICK else RETRIEVERS.find, recipe.retriever)
    yield recipe.model, partial(_weights, recipe.model)
    for model in _models(recipe):
        yield model, partial(MODELS.find, model)
    for reward in judges_of(recipe):
        if not _lacking(reward):
            yield reward, partial(make_reward, _CACHE.sub("", reward))


def _agents(recipe: BaseRecipe) -> list[str]:
    found: list[str | None] = [recipe.agent]
    if isinstance(recipe, PolicyRecipe):
        found += recipe.conclusion.controls
    if isinstance(recipe, SFTRecipe):
        found.append(recipe.lessons.agent)
    if isinstance(recipe, RewardModelRecipe):
        found.append(recipe.another)
    return [agent for agent in found if agent is not None]


def _models(recipe: BaseRecipe) -> list[str]:
    """The models beside the policy."""
    found = [recipe.conclusion.oracle] if isinstance(recipe, PolicyRecipe) else []
    if isinstance(recipe, SFTRecipe):
        found += [recipe.lessons.player, recipe.lessons.labeller]
    return [model for model in found if model is not None]


def _waits(spec: str, to_come: Collection[str]) -> bool:
    return any(folder in spec for folder in to_come)


def _failure(make: Callable[[], Any]) -> str | None:
    try:
        make()
    except MissingExtra:
        return None  # reported as a missing package
    except (ProfileGymError, TypeError) as error:  # TypeError: an unknown option of an endpoint
        return str(error)
    return None


def judges_of(recipe: BaseRecipe) -> list[str]:
    """The specs of the reward and of the judge."""
    judge = [f"score:{recipe.judge}"] if recipe.judge is not None else []
    return [*([recipe.reward] if isinstance(recipe, Recipe) else []), *judge]


def _weights(model: str) -> None:
    path = weights_of(model)
    if not (Path(path) / "config.json").is_file() and not _HUB_ID.fullmatch(path):
        raise ProfileGymError(f"model={model!r}: {path!r} is neither a folder with a config.json nor a name on the hub")


def _shares(recipe: BaseRecipe) -> Iterator[str]:
    if not isinstance(recipe, Recipe):
        return
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    rows = recipe.optimiser.questions * recipe.sequences
    if rows % ((recipe.optimiser.rows or 1) * processes):
        batches = f" in batches of {recipe.optimiser.rows}" if recipe.optimiser.rows else ""
        shared = f"{processes} processes cannot share a step's {rows} sequences evenly{batches}"
        yield f"{shared}: change optimiser.questions or optimiser.rows"


def _gpus_without_a_launcher() -> Iterator[str]:
    count = _gpus()
    if count > 1 and "WORLD_SIZE" not in os.environ:
        yield (
            f"{count} GPUs are visible to one process, which trains on one: choose one by CUDA_VISIBLE_DEVICES=0 "
            f"profilegym train …, or use all by accelerate launch --num_processes {count} -m profilegym train …"
        )


def _trl_fields(recipe: BaseRecipe) -> Iterator[str]:
    if not isinstance(recipe, PolicyRecipe) or not recipe.trl or not find_spec("trl"):
        return
    from trl import GRPOConfig, SFTConfig

    ours, known = (GRPO, GRPOConfig) if isinstance(recipe, Recipe) else (SFT, SFTConfig)
    if recipe.generation.engine == "vllm-server":
        from .grpo import async_trainer

        known = async_trainer.CONFIG
    yield from wrong_fields(recipe.trl, ours, list(known.__dataclass_fields__))


def _missing(recipe: BaseRecipe) -> Iterator[str]:
    missing = [package for package in (*_PACKAGES, *_for_lora(recipe)) if not find_spec(package)]
    if missing:
        yield f"{', '.join(missing)} not installed: pip install 'profilegym[train]'"
    for package in recipe.watch.report_to if isinstance(recipe, Recipe) else ():
        if not find_spec(package):
            yield f"{package} not installed: pip install {package}"
    if _runs_vllm(recipe) and not find_spec("vllm"):
        yield "vLLM not installed: pip install 'profilegym[vllm]'"


def _runs_vllm(recipe: BaseRecipe) -> bool:
    """In the training process: its engine, or what sends all weights to a server; adapters are sent as folders."""
    engine = recipe.generation.engine
    return engine == "vllm" or (engine == "vllm-server" and isinstance(recipe, PolicyRecipe) and recipe.lora is None)


def _for_lora(recipe: BaseRecipe) -> list[str]:
    if not isinstance(recipe, PolicyRecipe) or not recipe.lora:
        return []
    return ["peft"] if recipe.lora.bits == 16 else ["peft", "bitsandbytes"]


def _not_downloaded(recipe: BaseRecipe) -> Iterator[str]:
    for data in recipe.data.named:
        if is_on_hub(data):
            yield f"not downloaded: the records of {data}"
    path = _place_of(recipe.model)
    if path is not None and not Path(path).exists() and _HUB_ID.fullmatch(path) and not _is_cached(path):
        yield f"not downloaded: {recipe.model}; it may not exist"
    if recipe.retriever not in _QUICK:
        yield f"only loaded by the run: {recipe.retriever}; its options are not checked"


def _place_of(model: str) -> str | None:
    try:
        return weights_of(model)
    except ProfileGymError:
        return None


def _is_cached(name: str) -> bool:
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return False
    return isinstance(try_to_load_from_cache(name, "config.json"), str)


def _not_asked(recipe: BaseRecipe) -> Iterator[str]:
    for reward in judges_of(recipe):
        if lacking := _lacking(reward):
            yield f"not set here: {' and '.join(lacking)} of {reward.partition(',')[0]}"


def _lacking(reward: str) -> list[str]:
    """The endpoint settings that are in neither the spec nor the environment."""
    needed = {"api_key": "OPENAI_API_KEY", "base_url": "OPENAI_BASE_URL"} if "openai:" in reward else {}
    return [name for option, name in needed.items() if f"{option}=" not in reward and not os.environ.get(name)]


def _no_gpu(recipe: BaseRecipe) -> Iterator[str]:
    for_gpu = recipe.generation.engine != "transformers" or (
        isinstance(recipe, PolicyRecipe) and recipe.precision == "bfloat16"
    )
    if for_gpu and not _gpus():
        yield "no GPU here: whether model, gradients and generation fit into its memory"


def _gpus() -> int:
    try:
        import torch
    except ImportError:
        return 0
    return torch.cuda.device_count() if torch.cuda.is_available() else 0
