"""GRPO by TRL's `AsyncGRPOTrainer`: episodes are played on vLLM servers while the trainer learns from earlier ones."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import AutoTokenizer, PrinterCallback
from trl.experimental.async_grpo import AsyncGRPOConfig, AsyncGRPOTrainer

from ..._util.files import whole_folder
from ...agents.models.tokenize import template_of
from ...agents.models.vllm import VLLMModel
from ...agents.models.vllm_servers import Servers
from ...agents.models.weights import weights_of
from ...envs.data import QuestionSet
from ...envs.reward import RewardFunction
from ...envs.trajectory import Trajectory
from ...errors import OptionError
from ...evaluation.evaluate import Share
from ..policy import adapters, is_sharded, save_policy, whole_state
from ..processes import Processes
from ..recipe import Recipe
from .config import shared
from .policy_servers import PolicyServers
from .rollout_worker import Recorded, RolloutWorker
from .sequence import encoder
from .without_gpu import named_device, needs_plain_attention, use_plain_attention

CONFIG: Any = AsyncGRPOConfig  # its fields are what `trl:` of a recipe may set
log = logging.getLogger(__name__)
_NO_TOKEN_BUDGET = 0  # a step has a number of samples, not of tokens, unless the recipe says so


class AsyncPR2Trainer(AsyncGRPOTrainer):  # type: ignore[misc]
    """TRL's trainer as it is, with the worker's episodes, the newest policy behind the servers, and saving.

    Of several processes, the first one has the worker: it plays all episodes, those of evaluations too.
    """

    def __init__(self, recipe: Recipe, worker: RolloutWorker, policy: Callable[[], VLLMModel], **trl: Any) -> None:
        super().__init__(rollout_worker=worker, **trl)
        self.recipe, self.rollouts, self.policy = recipe, worker, policy
        self.processes = Processes(self.accelerator.process_index, self.accelerator.num_processes)
        self.share = Share() if self.processes.first else None

    @property
    def played(self) -> list[Trajectory]:
        """The newest episodes, as many as a step trains on."""
        return list(self.rollouts.played)

    def save_policy(self, folder: Path) -> None:
        """As a plain transformers model. Sharded weights are collected from all processes."""
        model = self.accelerator.unwrap_model(self.model)
        state = whole_state(model, kept=self.processes.first) if is_sharded(model) else None
        with self.processes.together():
            if self.processes.first:
                with whole_folder(folder) as unfinished:
                    save_policy(model, self.processing_class, unfinished, state)

    def save_now(self, together: bool) -> None:
        """A checkpoint of the last whole step. Where this process has failed alone, it saves what it has whole."""
        if together:
            with self.processes.together():
                self._save_checkpoint(self.model, trial=None)
        elif self.processes.first and not is_sharded(self.model):
            self._save_checkpoint(self.model, trial=None)

    def store_flos(self) -> None:
        """They are not counted: all processes would have to be asked, and the first one may have to save alone."""


def make_async_trainer(
    recipe: Recipe, questions: QuestionSet, reward: RewardFunction, recorded: Recorded, folder: Path, first: int = 0
) -> AsyncPR2Trainer:
    """The trainer of a recipe with `generation.engine=vllm-server`.

    LoRA adapters reach every server as folders; all weights reach one server by NCCL. `first` are the groups that an
    earlier run has played.
    """
    urls = str(recipe.generation.vllm_server).split("|")
    weights, template = weights_of(recipe.model), template_of(recipe.model)
    tokenizer = AutoTokenizer.from_pretrained(weights)
    servers: list[PolicyServers] = []

    def served() -> VLLMModel:
        model = VLLMModel(
            Servers(urls), name=f"vllm:{weights}", tokenizer=tokenizer, template=template, seeds=False,
            restore=lambda url, name: servers[0].restore(url, name),
        )  # fmt: skip
        model.adapter = servers[0].newest if servers else None
        return model

    args = async_config(recipe, folder)
    asked = served()
    worker = RolloutWorker(
        recipe, questions, asked, reward, partial(encoder, tokenizer, template), recorded,
        ahead=max(1, args.max_staleness) * recipe.optimiser.questions, first=first,
    )  # fmt: skip
    with named_device():
        trainer = AsyncPR2Trainer(
            recipe,
            worker,
            served,
            model=weights,
            args=args,
            train_dataset=Dataset.from_dict({"prompt": list(questions.ids)}),
            processing_class=tokenizer,
            peft_config=adapters(recipe.lora),
        )
    if needs_plain_attention():
        log.warning("no FlashAttention 3 here: plain attention trains slower (docs/vllm.md)")
        use_plain_attention()
    trainer.remove_callback(PrinterCallback)  # metrics have a file of their own
    with trainer.processes.together():
        if trainer.processes.first:
            if recipe.lora is not None:
                servers.append(PolicyServers(urls, args.vllm_server_timeout, asked))
                trainer.vllm_client = servers[0]
            _check_log_probabilities(trainer.vllm_client, recipe.generation.temperature)
    return trainer


def _check_log_probabilities(client: Any, temperature: float) -> None:
    """Those that TRL compares with its own must be tempered as its own are."""
    if temperature == 1:
        return
    mode = client.get_server_info()["model_config"].get("logprobs_mode")
    if mode != "processed_logprobs":
        raise OptionError(
            f"generation.temperature={temperature}: the server at {client.server_url} reports {mode}, which leaves the "
            "temperature out; start it with --logprobs-mode processed_logprobs"
        )


def async_config(recipe: Recipe, folder: Path) -> Any:
    """TRL's settings of the run; what the recipe says under `trl` is among them."""
    decided = {
        **shared(recipe, folder, recipe.optimiser.questions * recipe.sequences),
        "num_generations": recipe.sequences,
        "max_completion_length": recipe.generation.max_tokens,
        "token_budget": _NO_TOKEN_BUDGET,
        "vllm_server_base_url": str(recipe.generation.vllm_server).partition("|")[0],
        "dtype": "bfloat16" if recipe.lora and recipe.precision == "bfloat16" else "float32",
    }
    return AsyncGRPOConfig(**(decided | recipe.trl))
