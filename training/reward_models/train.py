"""Learns what an answer with the person's history has that one without lacks: pairs of our own rollouts, Bradley-Terry.

python -m profilegym.training.reward_models.train RUN_DIR [RUN_DIR …] --out DIR
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Literal, Protocol, get_args

from ..._util.files import write_whole
from ...agents.models.weights import weights_of
from ...errors import MissingExtra, OptionError
from ...evaluation.intervals import mean
from ...evaluation.recorded_run import RecordedRun
from ...evaluation.run import RunDirectory
from ...rewards.prmu import PRMU
from ...rewards.reward_model import LENGTH, RewardModel, Scorer
from ..quiet import quieten
from .pairs import Pair, Profile, by_person, pairs_of

Kind = Literal["prlm", "prmu"]
ORDERS: Mapping[Kind, Sequence[Profile]] = {"prlm": ("own", "none"), "prmu": ("own", "none", "another")}  # best first
_CHECKPOINT, _REPORT = "checkpoint.pt", "report.json"
_SAVE = 50  # steps between checkpoints


@dataclass(frozen=True)
class Settings:
    """PrLM's own, but for the encoder: `bert-base-uncased` there, a tiny one from nothing here."""

    runs: tuple[str, ...]
    kind: Kind = "prlm"
    encoder: str = "tiny"
    epochs: int = 3
    batch: int = 64
    learning_rate: float | None = None  # PrLM's 5e-5, or 1e-3 for an encoder from nothing
    held_out: float = 0.1  # share of the people
    seed: int = 42
    confirmed: bool = False  # only pairs whose better answer also scored more

    @property
    def rate(self) -> float:
        return self.learning_rate or (1e-3 if self.encoder == "tiny" else 5e-5)


class Learner(Scorer, Protocol):
    """A reward model while it learns."""

    def save(self, folder: Path) -> None: ...


def train(settings: Settings, out: Path) -> dict[str, Any]:
    """The report. Killed and called again, it goes on from its last checkpoint; once done, it says what it said."""
    out.mkdir(parents=True, exist_ok=True)
    asked = _as_json(settings)
    if (out / _REPORT).exists():
        report: dict[str, Any] = json.loads((out / _REPORT).read_text("utf-8"))
        _same(report["settings"], asked, out)
        return report
    runs = [RecordedRun(RunDirectory(run)) for run in settings.runs]
    pairs = pairs_of(runs, ORDERS[settings.kind], settings.confirmed)
    learned, held_out = by_person(pairs, settings.held_out)
    model = new_model(settings, sorted({pair.question.user_id for pair in learned}))
    fit(model, learned, settings, out)
    model.save(out)
    report = {"settings": asked, "pairs": len(learned), **examine(model, held_out)}
    write_whole(out / _REPORT, json.dumps(report, indent=2))
    (out / _CHECKPOINT).unlink(missing_ok=True)
    return report


def new_model(settings: Settings, people: Sequence[str]) -> Learner:
    """What the encoder's name stands for, with a new head; of PRMU's kind, with a vector for each of the people."""
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
    torch.manual_seed(settings.seed)
    prmu = settings.kind == "prmu"
    if settings.encoder == "tiny":
        tokenizer = _words_of_the_pilot()
        config = _tiny(tokenizer)
        model = BertModel(config, add_pooling_layer=False) if prmu else BertForSequenceClassification(config)
    else:
        tokenizer = AutoTokenizer.from_pretrained(settings.encoder)
        kind, options = (AutoModel, {}) if prmu else (AutoModelForSequenceClassification, {"num_labels": 1})
        model = kind.from_pretrained(settings.encoder, **options)
    return PRMU(model, tokenizer, people) if prmu else RewardModel(model, tokenizer)


def fit(model: Learner, pairs: Sequence[Pair], settings: Settings, out: Path) -> None:
    """Bradley-Terry: the loss is −log σ(better − worse). The same steps, whether interrupted or not."""
    import torch
    from torch.nn.functional import logsigmoid

    each = -(-len(pairs) // settings.batch)
    steps = settings.epochs * each
    optimiser = torch.optim.AdamW(model.module.parameters(), settings.rate)
    done = _resume(model, optimiser, settings, out)
    model.module.train()
    for step in range(done, steps):
        torch.manual_seed(settings.seed + step)  # for dropout
        optimiser.param_groups[0]["lr"] = settings.rate * (1 - step / steps)
        batch = _batch(pairs, settings, *divmod(step, each))
        scores = model.scores([(p.question, p.better) for p in batch] + [(p.question, p.worse) for p in batch])
        better, worse = scores.split(len(batch))
        loss = -logsigmoid(better - worse).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if (step + 1) % _SAVE == 0:
            _keep(model, optimiser, settings, step + 1, out)


def examine(model: Learner, pairs: Sequence[Pair]) -> dict[str, Any]:
    """The share of pairs in which the better answer has the higher score; intervals are over people."""
    import torch

    model.module.eval()
    right: dict[str, dict[str, list[float]]] = {}
    with torch.inference_mode():
        for pair in pairs:
            better, worse = model.scores([(pair.question, pair.better), (pair.question, pair.worse)]).tolist()
            for contrast in ("all", pair.contrast):
                right.setdefault(contrast, {}).setdefault(pair.question.user_id, []).append(float(better > worse))
    accuracy = {contrast: mean(by_person, fraction=True).as_dict() for contrast, by_person in right.items()}
    return {"held_out_pairs": len(pairs), "held_out_people": len(right["all"]), "accuracy": accuracy}


def _words_of_the_pilot() -> Any:
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(weights_of("pilot"))
    tokenizer.add_special_tokens({"cls_token": "<|cls|>", "sep_token": "<|sep|>"})
    marks = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("<|cls|>", "<|sep|>")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|cls|> $A <|sep|>", pair="<|cls|> $A <|sep|> $B:1 <|sep|>:1", special_tokens=marks
    )
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    return tokenizer


def _tiny(tokenizer: Any) -> Any:
    """BERT's architecture in small."""
    from transformers import BertConfig

    return BertConfig(
        vocab_size=len(tokenizer), hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=256,
        max_position_embeddings=LENGTH, num_labels=1, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip


def _batch(pairs: Sequence[Pair], settings: Settings, epoch: int, number: int) -> list[Pair]:
    order = Random(f"{settings.seed}:{epoch}").sample(range(len(pairs)), len(pairs))
    return [pairs[place] for place in order[number * settings.batch : (number + 1) * settings.batch]]


def _resume(model: Learner, optimiser: Any, settings: Settings, out: Path) -> int:
    """How many steps were made."""
    import torch

    if not (out / _CHECKPOINT).exists():
        return 0
    kept = torch.load(out / _CHECKPOINT, weights_only=True)
    _same(json.loads(kept["settings"]), _as_json(settings), out)
    model.module.load_state_dict(kept["model"])
    optimiser.load_state_dict(kept["optimiser"])
    return int(kept["step"])


def _keep(model: Learner, optimiser: Any, settings: Settings, step: int, out: Path) -> None:
    """In one move, so that nobody ever reads half of it."""
    import torch

    kept = {
        "settings": json.dumps(_as_json(settings)),
        "model": model.module.state_dict(),
        "optimiser": optimiser.state_dict(),
        "step": step,
    }
    torch.save(kept, out / f".{_CHECKPOINT}")
    (out / f".{_CHECKPOINT}").replace(out / _CHECKPOINT)


def _as_json(settings: Settings) -> dict[str, Any]:
    return asdict(replace(settings, learning_rate=settings.rate)) | {"runs": list(settings.runs)}


def _same(there: dict[str, Any], asked: dict[str, Any], out: Path) -> None:
    changed = [name for name in {**there, **asked} if there.get(name) != asked.get(name)]
    if changed:
        told = ", ".join(f"{name}={there.get(name)!r} there, {asked.get(name)!r} now" for name in changed)
        raise OptionError(f"{out} holds another reward model ({told}): name another --out, or delete it")


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m profilegym.training.reward_models.train", description=__doc__)
    parser.add_argument(
        "runs", nargs="+", help="of profilegym eval: one holds the answers with and without the profile"
    )
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--kind", choices=get_args(Kind), default=Settings.kind)
    parser.add_argument("--encoder", default="tiny", help="a name or a folder of transformers, as bert-base-uncased")
    for name, kind in (("epochs", int), ("batch", int), ("learning-rate", float), ("held-out", float), ("seed", int)):
        parser.add_argument(f"--{name}", type=kind, default=getattr(Settings, name.replace("-", "_")))
    parser.add_argument("--confirmed", action="store_true", help="only pairs whose better answer also scored more")
    asked = vars(parser.parse_args(arguments))
    quieten()
    out: Path = asked.pop("out")
    print(json.dumps(train(Settings(**asked | {"runs": tuple(asked["runs"])}), out), indent=2))  # noqa: T201 (asked for)


if __name__ == "__main__":
    main(sys.argv[1:])
