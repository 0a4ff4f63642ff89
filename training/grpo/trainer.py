"""PR2 by TRL's GRPO: our rollouts, our groups and our advantages; everything else is TRL's. Its names stay in here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PrinterCallback
from trl import GRPOTrainer

from ..._util.files import whole_folder
from ...agents.models.hf import HFModel
from ...agents.models.model import Model, stops_for
from ...agents.models.stop_criteria import Stops
from ...envs.data import QuestionSet
from ...envs.reward import RewardFunction
from ...envs.trajectory import Trajectory
from ..advantage import is_flat
from ..policy import Policy, adapters, save_policy
from ..processes import Processes
from ..reading import changes_logits
from ..recipe import Recipe
from .colocated import ColocatedVLLM
from .config import config
from .group import Member, annotate, check_sampled, check_scored, group_metrics, used_advantages, used_turn_advantages
from .loss import by_length, only_what_teaches, scores, scores_read_once
from .rollouts import Place, Rollouts, reward_total
from .sampler import EpochSampler
from .sequence import TokenSequence, by_token, encoder, training_row

Recorded = Callable[[Sequence[Trajectory]], None]
_TOKENS = {"cpu": 1536, "other": 16384}  # of a batch whose activations are held at once, by device


class PR2Trainer(GRPOTrainer):  # type: ignore[misc]
    """GRPO whose groups hold rollouts without the profile, and whose advantages are those of `advantages`."""

    _last_loaded_step: int  # TRL's: whose weights vLLM has

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
        self._template = policy.template
        self._wanted: torch.Tensor | None = None  # the positions of the completion that the loss needs
        super().__init__(
            model=policy.model,
            reward_funcs=[_the_total],
            args=config(recipe, folder),
            train_dataset=Dataset.from_dict({"prompt": list(questions.ids)}),
            processing_class=policy.tokenizer,
            rollout_func=_rollout,
            peft_config=adapters(recipe.lora),
        )
        self.remove_callback(PrinterCallback)  # metrics have a file of their own
        self.processes = Processes(self.accelerator.process_index, self.accelerator.num_processes)
        self.share = self.processes.share  # of an evaluation's questions
        self.max_completion_length = recipe.generation.max_tokens  # what `dr_grpo` divides by, whoever writes the turns
        self._vllm = self._writer() if self.use_vllm else None
        self.rollouts = Rollouts(recipe, questions, self._vllm or self.policy(), reward)
        self.played: list[Trajectory] = []  # this process's share of the newest step
        self._turns: list[list[int | None]] = []  # the turns of the completions' tokens

    def play(self, question_ids: Sequence[str]) -> dict[str, Any]:
        """This process's rows of a step, as TRL takes them."""
        start = perf_counter()
        first = self.accelerator.process_index * len(question_ids)
        places = [Place(name, self.state.global_step, first + row) for row, name in enumerate(question_ids)]
        rows: list[TokenSequence] = []
        with self.processes.together():
            with _asked_only(self.accelerator.unwrap_model(self.model)), self.accelerator.autocast():
                self.played = self._drawn(places)
                self.rollouts.release()
            rows += [self._row(trajectory) for trajectory in self.played]
        self._note("rollout_seconds", perf_counter() - start)
        self._turns = [row.turns for row in rows]
        return {
            "prompt_ids": [row.prompt for row in rows],
            "completion_ids": [row.completion for row in rows],
            "logprobs": [row.logprobs for row in rows] if self._vllm else None,  # our engine has the loss's own weights
            "env_mask": [row.mask for row in rows],
            "total": [reward_total(trajectory) for trajectory in self.played],
        }

    def policy(self) -> Model:
        """Whoever writes the rollouts, with the weights as they are now."""
        if self._vllm is not None:
            if self.state.global_step != self._last_loaded_step:
                self.vllm_generation.sync_weights()
                self._last_loaded_step = self.state.global_step
            return self._vllm
        return HFModel(
            self.accelerator.unwrap_model(self.model),
            self.processing_class,
            rows=self.recipe.generation.rows,
            template=self._template,
        )

    def _writer(self) -> ColocatedVLLM:
        """TRL's vLLM, to which it hands the weights before each step."""
        episode = self.recipe.episode
        stop = stops_for(episode.protocol, episode.made.get("tools") is not None)
        stops = Stops.of(self.accelerator.unwrap_model(self.model), self._tokenizer)
        device, engine = self.accelerator.device, self.vllm_generation.llm.llm_engine
        on_device: Callable[[], AbstractContextManager[Any]] = nullcontext
        if device.type == "cuda":
            on_device = partial(torch.cuda.device, device)
        context = engine.model_config.max_model_len
        return ColocatedVLLM(self.vllm_generation, self._tokenizer, stops, stop, context, on_device, self._template)

    def save_policy(self, folder: Path) -> None:
        """As a plain transformers model."""
        with self.processes.together():
            if self.processes.first:
                with whole_folder(folder) as unfinished:
                    save_policy(self.accelerator.unwrap_model(self.model), self.processing_class, unfinished)

    def save_now(self, together: bool) -> None:
        """A checkpoint of the last whole step; nothing where this process is not `together` with the others."""
        if together and self.recipe.can_resume(self.state.global_step):
            with self.processes.together():
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

    def _get_train_sampler(self, dataset: Dataset | None = None) -> EpochSampler:
        steps = len(self.train_dataset) // self.recipe.optimiser.questions * self.recipe.iterations  # in an epoch
        return EpochSampler(super()._get_train_sampler(dataset), lambda: self.state.global_step // steps)

    def _row(self, trajectory: Trajectory) -> TokenSequence:
        end = self._tokenizer.eos_token_id
        encode = encoder(self._tokenizer, self._template, None if self._vllm else trajectory.tools)
        row = training_row(trajectory, encode, self.recipe.train_baseline)
        return row or TokenSequence([end], [end], [0], [None], [None])

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """TRL's own advantages, less the group's mean, would cancel any baseline: they are replaced, in its log too."""
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        members = self._members()
        used = used_advantages(members, self.recipe)
        here = slice(self.accelerator.process_index * len(inputs), (self.accelerator.process_index + 1) * len(inputs))
        mine, turns = used[here], used_turn_advantages(members, self.recipe)[here]
        like = {"dtype": output["advantages"].dtype, "device": output["advantages"].device}
        output["advantages"] = torch.tensor(mine, **like)
        if self.recipe.by_turn:
            added = by_token(turns, self._turns, output["completion_ids"].shape[1])
            output["advantages"] = output["advantages"][:, None] + torch.tensor(added, **like)
        self._logs["advantages"].clear()
        self._logs["advantages"].extend(used)
        for name, value in group_metrics(members, used, self.recipe).items():
            self._note(name, value)
        annotate(self.played, mine, turns, members, self.accelerator.process_index * len(inputs), self.recipe)
        with self.processes.together():
            self._recorded(self.played)
        if self._is_a_sum:
            return only_what_teaches(output, self.args.steps_per_generation, self._most)
        return output

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Any:
        """In parts where the loss is a sum: one very long row would have all others padded to its length.

        Each part but the last takes its backward pass here, so that the activations of one part alone are held.
        """
        if not (self._is_a_sum and torch.is_grad_enabled()):
            return self._loss_of(model, inputs)
        most_tokens = _TOKENS.get(self.accelerator.device.type, _TOKENS["other"])
        *parts, last = by_length(inputs, most_tokens, self._most)
        losses = []
        for part in parts:
            with self.accelerator.no_sync(model):
                loss = self._loss_of(model, part)
                self.accelerator.backward(loss)
            losses.append(loss.detach())
        return sum(losses, self._loss_of(model, last))

    def _loss_of(self, model: Any, inputs: dict[str, Any]) -> Any:
        self._wanted = inputs["completion_mask"] * inputs["tool_mask"]
        try:
            return super()._compute_loss(model, inputs)
        finally:
            self._wanted = None

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Any, attention_mask: Any, logits_to_keep: int, **options: Any
    ) -> tuple[Any, Any, Any]:
        """Where the loss needs them alone; everywhere where nobody says what is needed."""
        if options.get("compute_aux_loss") or changes_logits(self.accelerator.unwrap_model(model)):
            plain = super()._get_per_token_logps_and_entropies
            logps, entropies, auxiliary = plain(model, input_ids, attention_mask, logits_to_keep, **options)
            return logps, entropies, auxiliary
        wanted = attention_mask[:, -logits_to_keep:] if self._wanted is None else self._wanted
        size = options.get("batch_size") or len(input_ids)
        parts = zip(*(rows.split(size) for rows in (input_ids, attention_mask, wanted)), strict=True)
        found = [self._scores(model, *part) for part in parts]
        logps, entropies = (torch.cat(rows) for rows in zip(*found, strict=True))
        return logps, entropies, None

    def _scores(self, model: Any, input_ids: Any, attention_mask: Any, wanted: Any) -> tuple[Any, Any]:
        asked = (model, input_ids, attention_mask, wanted, self.temperature, self._entropy_bonus_enabled)
        if self.processes.count > 1 or self.recipe.gradient_checkpointing:
            return scores(*asked)
        with self.accelerator.autocast():
            return scores_read_once(*asked)

    @property
    def _is_a_sum(self) -> bool:
        """Of tokens, by a count made beforehand: then a loss may be had in parts."""
        return self.recipe.optimiser.kl == 0 and self.recipe.optimiser.loss == "dapo"

    def _most(self, rows: int) -> int:
        return max(self.processes.gathered(rows))

    def _members(self) -> list[Member]:
        """Of all processes, group after group."""
        shares = self.processes.gathered([self.rollouts.member(trajectory) for trajectory in self.played])
        found = [member for share in shares for member in share]
        with self.processes.together():
            check_scored(found)
            check_sampled(found)
        return found

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


def _rollout(prompts: Sequence[str], trainer: PR2Trainer) -> Mapping[str, Any]:
    return trainer.play(prompts)


def _the_total(prompts: Sequence[str], completions: Sequence[str], total: Sequence[float | None], **_: Any) -> Any:
    """Scored while others were still being played; TRL only passes it on."""
    return list(total)
