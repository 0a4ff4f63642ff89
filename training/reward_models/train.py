"""Trains a reward model on pairs of answers by the Bradley-Terry loss: with the profile over without (PrLM, PRMU)."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Literal, Protocol

from pydantic import PositiveFloat, PositiveInt

from ...agents.models.model import MODELS
from ...agents.models.weights import weights_of
from ...errors import MissingExtra
from ...evaluation.evaluate import Speed, evaluate
from ...evaluation.intervals import mean
from ...evaluation.recorded_run import RecordedRun
from ...evaluation.run import RunDirectory
from ...rewards.prmu import PRMU
from ...rewards.reward_model import LENGTH, RewardModel, Scorer
from ..recipe import BaseRecipe
from ..runtime import quieten
from ..settings import Fraction
from .pairs import Pair, Profile, pairs_of, split_by_user

Kind = Literal["prlm", "prmu"]
ORDERS: Mapping[Kind, Sequence[Profile]] = {"prlm": ("own", "none"), "prmu": ("own", "none", "another")}  # best first
PLAYED, REPORT = "played", "report.json"
_CHECKPOINT = "checkpoint.pt"
_SAVE = 50  # steps between checkpoints


class RewardModelRecipe(BaseRecipe):
    """Trains on the answers in `runs`, or on those that `model` gives to `data.train`.

    The defaults are PrLM's, except for the encoder: `bert-base-uncased` there, a tiny one with random weights here.
    """

    method: Literal["reward-model"]
    kind: Kind = "prlm"
    runs: list[str] | None = None  # run directories of `profilegym eval`
    another: str | None = None  # for PRMU: an agent that is shown another user's profile
    limit: PositiveInt | None = None  # questions
    encoder: str = "tiny"
    epochs: PositiveInt = 3
    batch: PositiveInt = 64
    learning_rate: PositiveFloat | None = None  # None: 5e-5 as in PrLM, 1e-3 for the tiny encoder
    held_out: Fraction = 0.1  # share of the users
    confirmed: bool = False  # only pairs whose better answer also has the higher score

    def _problems(self) -> Iterator[tuple[bool, str]]:
        yield from super()._problems()
        yield (
            self.runs is None and (self.kind == "prmu") != (self.another is not None),
            f"kind={self.kind}, another={self.another}: kind=prmu, and no other kind, needs another, an agent that is "
            "shown another user's profile, such as tagpr:profile=random",
        )
        yield (
            self.runs is not None and self.another is not None,
            f"another={self.another} plays no episode where runs={self.runs} are given: give one of the two",
        )

    def _scored(self) -> Iterator[str]:
        if self.runs is None:
            yield self.data.train

    @property
    def agents(self) -> dict[str, str]:
        """The agents to play, by whose profile they see; none where runs are given."""
        if self.runs is not None:
            return {}
        return {"own": self.agent} | ({"another": self.another} if self.another is not None else {})

    @property
    def rate(self) -> float:
        return self.learning_rate or (1e-3 if self.encoder == "tiny" else 5e-5)


class Learner(Scorer, Protocol):
    """A reward model in training."""

    def save(self, folder: Path) -> None: ...


def train_reward_model(recipe: RewardModelRecipe, out: Path) -> dict[str, Any]:
    """Play the answers, fit the model and return its report; called again, resume from the last checkpoint."""
    quieten()
    run = RunDirectory(out)
    with run.writing(recipe.model_dump(), recipe.completed):
        if not (out / REPORT).exists():
            report = _learn(recipe, [*_played(recipe, out), *(recipe.runs or ())], out)
            run.write_json(REPORT, report)
            (out / _CHECKPOINT).unlink(missing_ok=True)
    return dict(json.loads((out / REPORT).read_text("utf-8")))


def _played(recipe: RewardModelRecipe, out: Path) -> list[str]:
    """The run directories of the recipe's own agents."""
    if not recipe.agents:
        return []
    model = MODELS.make(recipe.model, rows=recipe.generation.rows)
    speed = Speed(recipe.generation.in_flight, recipe.generation.deadline)
    folders = {agent: out / PLAYED / whose for whose, agent in recipe.agents.items()}
    for agent, folder in folders.items():
        settings = recipe.playing(recipe.data.train, recipe.limit, agent=agent)
        asyncio.run(evaluate(settings, RunDirectory(folder), speed, model=model))
    return [str(folder) for folder in folders.values()]


def _learn(recipe: RewardModelRecipe, runs: Sequence[str], out: Path) -> dict[str, Any]:
    played = [RecordedRun(RunDirectory(run)) for run in runs]
    learned, held_out = split_by_user(pairs_of(played, ORDERS[recipe.kind], recipe.confirmed), recipe.held_out)
    model = new_model(recipe, sorted({pair.question.user_id for pair in learned}))
    fit(model, learned, recipe, out)
    model.save(out)
    return {"settings": recipe.model_dump(), "pairs": len(learned), **examine(model, held_out)}


def new_model(recipe: RewardModelRecipe, users: Sequence[str]) -> Learner:
    """The recipe's encoder with a new head; for PRMU also with an embedding for each user."""
    try:
        import torch
        from transformers import (
            AutoModel,
            AutoModelForSequenceClassification,
            AutoTokenizer,
            BertForSequenceClassification,
            BertModel,
        )
    except ImportError as error:
        raise MissingExtra("training a reward model", "train") from error
    torch.manual_seed(recipe.seed)
    prmu = recipe.kind == "prmu"
    if recipe.encoder == "tiny":
        tokenizer = _pilot_tokenizer()
        config = _tiny(tokenizer)
        model = BertModel(config, add_pooling_layer=False) if prmu else BertForSequenceClassification(config)
    else:
        tokenizer = AutoTokenizer.from_pretrained(recipe.encoder)
        kind, options = (AutoModel, {}) if prmu else (AutoModelForSequenceClassification, {"num_labels": 1})
        model = kind.from_pretrained(recipe.encoder, **options)
    return PRMU(model, tokenizer, users) if prmu else RewardModel(model, tokenizer)


def fit(model: Learner, pairs: Sequence[Pair], recipe: RewardModelRecipe, out: Path) -> None:
    """Minimise −log σ(better − worse); an interrupted run makes the same steps as an uninterrupted one."""
    import torch
    from torch.nn.functional import logsigmoid

    per_epoch = -(-len(pairs) // recipe.batch)
    steps = recipe.epochs * per_epoch
    optimiser = torch.optim.AdamW(model.module.parameters(), recipe.rate)
    done = _resume(model, optimiser, out)
    model.module.train()
    for step in range(done, steps):
        torch.manual_seed(recipe.seed + step)  # for dropout
        optimiser.param_groups[0]["lr"] = recipe.rate * (1 - step / steps)
        batch = _batch(pairs, recipe, *divmod(step, per_epoch))
        scores = model.scores([(p.question, p.better) for p in batch] + [(p.question, p.worse) for p in batch])
        better, worse = scores.split(len(batch))
        loss = -logsigmoid(better - worse).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if (step + 1) % _SAVE == 0:
            _save(model, optimiser, step + 1, out)


def examine(model: Learner, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Accuracy: the share of pairs whose better answer has the higher score, with intervals over users."""
    import torch

    model.module.eval()
    right: dict[str, dict[str, list[float]]] = {}
    with torch.inference_mode():
        for pair in pairs:
            better, worse = model.scores([(pair.question, pair.better), (pair.question, pair.worse)]).tolist()
            for contrast in ("all", pair.contrast):
                right.setdefault(contrast, {}).setdefault(pair.question.user_id, []).append(float(better > worse))
    accuracy = {contrast: mean(by_user, fraction=True).as_dict() for contrast, by_user in right.items()}
    return {"held_out_pairs": len(pairs), "held_out_people": len(right["all"]), "accuracy": accuracy}


def _pilot_tokenizer() -> Any:
    """The pilot's tokenizer, with BERT's special tokens."""
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(weights_of("pilot"))
    tokenizer.add_special_tokens({"cls_token": "<|cls|>", "sep_token": "<|sep|>"})
    special = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("<|cls|>", "<|sep|>")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|cls|> $A <|sep|>", pair="<|cls|> $A <|sep|> $B:1 <|sep|>:1", special_tokens=special
    )
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    return tokenizer


def _tiny(tokenizer: Any) -> Any:
    """The configuration of a small BERT."""
    from transformers import BertConfig

    return BertConfig(
        vocab_size=len(tokenizer), hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=256,
        max_position_embeddings=LENGTH, num_labels=1, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip


def _batch(pairs: Sequence[Pair], recipe: RewardModelRecipe, epoch: int, number: int) -> list[Pair]:
    order = Random(f"{recipe.seed}:{epoch}").sample(range(len(pairs)), len(pairs))
    return [pairs[place] for place in order[number * recipe.batch : (number + 1) * recipe.batch]]


def _resume(model: Learner, optimiser: Any, out: Path) -> int:
    """Load the checkpoint, if there is one; return the number of steps done."""
    import torch

    if not (out / _CHECKPOINT).exists():
        return 0
    kept = torch.load(out / _CHECKPOINT, weights_only=True)
    model.module.load_state_dict(kept["model"])
    optimiser.load_state_dict(kept["optimiser"])
    return int(kept["step"])


def _save(model: Learner, optimiser: Any, step: int, out: Path) -> None:
    """Write and rename, so that a checkpoint is always whole."""
    import torch

    kept = {"model": model.module.state_dict(), "optimiser": optimiser.state_dict(), "step": step}
    torch.save(kept, out / f".{_CHECKPOINT}")
    (out / f".{_CHECKPOINT}").replace(out / _CHECKPOINT)
