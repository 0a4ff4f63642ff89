"""PR2 by TRL's GRPO: our rollouts, our groups and our advantages; everything else is TRL's. Its names stay in here."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from transformers import PreTrainedModel, PrinterCallback

from ...agents.models.hf import HFModel
from ...agents.models.model import STOPS
from ...agents.models.stop_criteria import Stops
from ...envs.data import QuestionSet
from ...envs.reward import RewardFunction
from ...envs.trajectory import Trajectory
from ...errors import RewardError
from ..advantage import advantages, is_flat
from ..policy import Policy, save_policy
from ..recipe import Recipe
from .batching import by_length, only_what_teaches
from .group import Member, as_baseline, group_metrics
from .rollouts import Place, Rollouts, reward_total
from .sequence import TokenSequence, sequence_of
from .vllm import VLLMModel

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # rollout_func is pinned with TRL's version
from trl import GRPOConfig, GRPOTrainer

Recorded = Callable[[Sequence[Trajectory]], None]
_WIDTHS = 4  # parts that a batch's rows are sorted into by their length
_DEAD = 0.5  # of a step's episodes unscored: the judge is gone, not unlucky


class PR2Trainer(GRPOTrainer):  # type: ignore[misc]
    """GRPO whose groups hold rollouts without the profile, and whose advantages are those of `advantages`."""

    def __init__(
        self,
        recipe: Recipe,
        policy: Policy,
        questions: QuestionSet,
        reward: RewardFunction,
        recorded: Recorded,
        folder: Path,
    ) -> None:
        self.recipe = recipe
        self._recorded = recorded
        super().__init__(
            model=policy.model,
            reward_funcs=[_the_total],
            args=config(recipe, folder),
            train_dataset=Dataset.from_dict({"prompt": list(questions.ids)}),
            processing_class=policy.tokenizer,
            rollout_func=_rollout,
            peft_config=_lora(recipe),
        )
        self.remove_callback(PrinterCallback)  # metrics have a file of their own
        self._vllm = self._writer() if self.use_vllm else None
        self.rollouts = Rollouts(recipe, questions, self._vllm or self.policy(), reward)
        self.played: list[Trajectory] = []  # this process's share of the newest step

    def play(self, question_ids: Sequence[str]) -> dict[str, Any]:
        """This process's rows of a step, as TRL takes them."""
        start = perf_counter()
        first = self.accelerator.process_index * len(question_ids)
        places = [Place(name, self.state.global_step, first + row) for row, name in enumerate(question_ids)]
        with _asked_only(self.accelerator.unwrap_model(self.model)):
            self.played = self._drawn(places)
            if self._vllm:
                self._vllm.wait_for_others()
        self._note("rollout_seconds", perf_counter() - start)
        rows = [self._row(trajectory) for trajectory in self.played]
        return {
            "prompt_ids": [row.prompt for row in rows],
            "completion_ids": [row.completion for row in rows],
            "logprobs": [row.logprobs for row in rows] if self._vllm else None,  # our engine has the loss's own weights
            "env_mask": [row.mask for row in rows],
            "total": [reward_total(trajectory) for trajectory in self.played],
        }

    def policy(self) -> HFModel:
        """The weights as they are now, for whoever wants to ask them."""
        return HFModel(
            self.accelerator.unwrap_model(self.model), self.processing_class, rows=self.recipe.generation.rows
        )

    def _writer(self) -> VLLMModel:
        """TRL's vLLM, to which it hands the weights before each step."""
        protocol = self.recipe.episode.protocol
        together = self.vllm_mode == "server" and self.accelerator.num_processes > 1
        stops = Stops.of(self.accelerator.unwrap_model(self.model), self._tokenizer)
        return VLLMModel(self.vllm_generation, self._tokenizer, stops, STOPS[protocol], together)

    def save_policy(self, folder: Path) -> None:
        """As a plain transformers model."""
        model = self.accelerator.unwrap_model(self.model)
        if self.recipe.lora is not None:
            model = deepcopy(model).merge_and_unload()
        save_policy(model, self.processing_class, folder)

    def save_now(self) -> None:
        """A checkpoint of the last whole step."""
        self._save_checkpoint(self.model, trial=None)

    def _drawn(self, places: Sequence[Place]) -> list[Trajectory]:
        """Groups without variance, of those that this process holds whole, are drawn anew as the recipe says."""
        played = self.rollouts.play(places)
        size = self.recipe.group.size
        for draw in range(1, self.recipe.resample_zero_variance + 1):
            flat = [
                start
                for start in range(-places[0].row % size, len(places) - size + 1, size)
                if is_flat([reward_total(trajectory) for trajectory in played[start : start + size]])
            ]
            if not flat:
                break
            rows = [row for start in flat for row in range(start, start + size)]
            again = [Place(places[r].question_id, places[r].step, places[r].row, draw) for r in rows]
            for row, trajectory in zip(rows, self.rollouts.play(again), strict=True):
                played[row] = trajectory
        return played

    def _row(self, trajectory: Trajectory) -> TokenSequence:
        end = self._tokenizer.eos_token_id
        if trajectory.ended == "error":
            return TokenSequence([end], [end], [0], [None])
        row = sequence_of(trajectory, lambda text: self._tokenizer(text, add_special_tokens=False)["input_ids"])
        if trajectory.kind == "baseline" and self.recipe.train_baseline == "masked":
            return replace(row, mask=[0] * len(row.mask))
        return row

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """TRL's own advantages, less the group's mean, would cancel any baseline: they are replaced, in its log too."""
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        members = self._members()
        used = self._used_advantages(members)
        mine = used[self.accelerator.process_index * len(inputs) :][: len(inputs)]
        output["advantages"] = torch.tensor(mine, dtype=output["advantages"].dtype, device=output["advantages"].device)
        self._logs["advantages"].clear()
        self._logs["advantages"].extend(used)
        for name, value in group_metrics(members, used, self.recipe).items():
            self._note(name, value)
        self._record(members, mine)
        if self._is_a_sum:
            return only_what_teaches(output, self.args.steps_per_generation, self._most)
        return output

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Any:
        """One very long row would have all others padded to its length."""
        if not self._is_a_sum:
            return super()._compute_loss(model, inputs)
        return sum(super(PR2Trainer, self)._compute_loss(model, part) for part in by_length(inputs, _WIDTHS))

    @property
    def _is_a_sum(self) -> bool:
        """Of tokens, by a count made beforehand: then a loss may be had in parts."""
        return self.recipe.optimiser.kl == 0 and self.recipe.optimiser.loss == "dapo"

    def _most(self, rows: int) -> int:
        counts: list[int] = gather_object([rows])
        return max(counts)

    def _members(self) -> list[Member]:
        """Of all processes, group after group."""
        found: list[Member] = gather_object([Member.of(t, self.rollouts.hops(t)) for t in self.played])
        unscored = sum(member.total is None for member in found) / len(found)
        if unscored > _DEAD:
            reason = next(member.unscored for member in found if member.total is None)
            raise RewardError(f"{unscored:.0%} of the step's episodes could not be scored: {reason}")
        return found

    def _used_advantages(self, members: Sequence[Member]) -> list[float]:
        size, cut = self.recipe.group.size, self.recipe.group.personalised
        used: list[float] = []
        for start in range(0, len(members), size):
            totals = [member.total for member in members[start : start + size]]
            group = advantages(self.recipe.advantage, totals[:cut], totals[cut:])
            if self.recipe.train_baseline == "positive":
                group[cut:] = [max(0.0, advantage) for advantage in group[cut:]]
            used += group
        return used

    def _record(self, members: Sequence[Member], mine: Sequence[float]) -> None:
        size, cut = self.recipe.group.size, self.recipe.group.personalised
        first = self.accelerator.process_index * len(self.played)
        for row, (trajectory, advantage) in enumerate(zip(self.played, mine, strict=True)):
            trajectory.advantage = advantage
            group = (first + row) // size * size
            if trajectory.kind == "personalised":
                trajectory.baseline = as_baseline(members[group + cut : group + size])
        self._recorded(self.played)

    def _note(self, name: str, value: float | None) -> None:
        if value is not None:
            self._metrics["train"][name].append(value)


@contextmanager
def _asked_only(model: PreTrainedModel) -> Iterator[None]:
    """While it plays, nothing is dropped out or computed anew for the sake of gradients."""
    learning = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(learning)


def config(recipe: Recipe, folder: Path) -> Any:
    """The recipe in TRL's words."""
    optimiser, generation, watch = recipe.optimiser, recipe.generation, recipe.watch
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    rows = optimiser.questions * recipe.group.size
    at_once = optimiser.rows or rows // processes
    return GRPOConfig(
        output_dir=str(folder / "checkpoints"),
        max_steps=optimiser.steps,
        per_device_train_batch_size=at_once,
        gradient_accumulation_steps=rows // (at_once * processes),
        num_generations=recipe.group.size,
        learning_rate=optimiser.learning_rate,
        lr_scheduler_type={"constant": "constant_with_warmup"}.get(optimiser.schedule, optimiser.schedule),
        warmup_steps=optimiser.warmup,
        weight_decay=optimiser.weight_decay,
        max_grad_norm=optimiser.max_grad_norm,
        optim=optimiser.name,
        epsilon=optimiser.clip,
        epsilon_high=optimiser.clip_high,
        beta=optimiser.kl,
        loss_type=optimiser.loss,
        temperature=generation.temperature,
        top_p=generation.top_p,
        bf16=recipe.precision == "bfloat16",
        use_cpu=not torch.cuda.is_available(),
        activation_checkpointing=recipe.gradient_checkpointing,
        seed=recipe.seed,
        save_steps=watch.save,
        save_total_limit=watch.keep,
        logging_steps=1,
        report_to=list(watch.report_to) or "none",
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        **_vllm(recipe),
    )


def _vllm(recipe: Recipe) -> dict[str, Any]:
    generation = recipe.generation
    if generation.engine == "transformers":
        return {}
    server = generation.engine == "vllm-server"
    return {
        "use_vllm": True,
        "vllm_mode": "server" if server else "colocate",
        "vllm_server_base_url": generation.vllm_server if server else None,
        "vllm_gpu_memory_utilization": generation.vllm_memory,
        "max_completion_length": generation.turn_tokens,
        "generation_kwargs": {"stop": list(STOPS[recipe.episode.protocol]), "include_stop_str_in_output": True},
    }


def _lora(recipe: Recipe) -> Any:
    if recipe.lora is None:
        return None
    from peft import LoraConfig

    lora = recipe.lora
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        task_type="CAUSAL_LM",
    )


def _rollout(prompts: Sequence[str], trainer: PR2Trainer) -> Mapping[str, Any]:
    return trainer.play(prompts)


def _the_total(prompts: Sequence[str], completions: Sequence[str], total: Sequence[float | None], **_: Any) -> Any:
    """Scored while others were still being played; TRL only passes it on."""
    return list(total)
