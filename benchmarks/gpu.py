"""`profilegym bench gpu`: rollouts and GRPO steps of a small and of a large model on one GPU, within eight minutes.

Without a GPU both are tiny, and the table says so. Rewards are drawn by the transcript, so that every group teaches.
"""

import asyncio
import gc
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import wraps
from hashlib import blake2b
from itertools import cycle, groupby, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from ..agents.agent import make_agent
from ..agents.models import smollm2
from ..agents.models.hf import HFModel
from ..agents.models.weights import weights_of
from ..agents.rollout import Job
from ..envs.data import load_questions
from ..envs.episode import Episode
from ..envs.reward import Reward
from ..envs.trajectory import Trajectory
from ..training.recipe import Recipe
from ..training.settings import check_settings
from .measurement import Target, at_least, resident_bytes, show

SECONDS = 450.0  # for all parts; a part that takes too long ends after the step at hand
DATA = "world:seed=7,users=50/train"
_SAMPLE = 4096  # weights of each tensor that are compared before and after
_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to measure: the folder of its weights, or the shape of random ones; and the size of its episodes."""

    name: str
    weights: Callable[[], Path] | None
    shape: dict[str, Any]
    turn_tokens: int
    max_tokens: int
    max_searches: int
    rollouts: int = 200
    steps: int = 10
    questions: int = 4
    personalised: int = 4
    optimiser: str = "adamw_torch"


_QWEN_7B = {
    "vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "max_position_embeddings": 32768, "tie_word_embeddings": False,
}  # fmt: skip
_TINY = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 4096, "tie_word_embeddings": False,
}  # fmt: skip
FULL = (
    Subject("SmolLM2-135M", smollm2.fetch, {}, turn_tokens=96, max_tokens=192, max_searches=2),
    Subject(
        "random weights, Qwen2.5-7B's shape", None, _QWEN_7B, turn_tokens=24, max_tokens=48, max_searches=1,
        optimiser="adafactor",
    ),
)  # fmt: skip


def _toy(of: str, optimiser: str) -> Subject:
    return Subject(
        f"toy in place of {of}", None, _TINY, turn_tokens=8, max_tokens=16, max_searches=1, rollouts=6, steps=2,
        questions=2, personalised=2, optimiser=optimiser,
    )  # fmt: skip


TOY = (_toy("SmolLM2", "adamw_torch"), _toy("Qwen2.5-7B's shape", "adafactor"))


@dataclass(slots=True)
class Row:
    """What one part came to; None where it did not get there."""

    model: str
    trained: str  # none: rollouts alone; LoRA; all
    episodes: int = 0
    rollout_tokens_per_second: float | None = None  # of the policy
    steps: int = 0
    step_seconds: float | None = None
    trained_tokens_per_second: float | None = None  # read and written, outside of the rollouts
    peak_gib: float | None = None
    beside_the_model: float | None = None  # share of a step
    changed: float | None = None  # share of the weights that train
    problem: str = ""


@dataclass(slots=True)
class _Clock:
    """Seconds in the calls that it wraps, with the device waited for."""

    device: str
    seconds: float = 0.0
    started: float = 0.0

    def of(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def timed(*args: Any, **options: Any) -> Any:
            self.start()
            try:
                return call(*args, **options)
            finally:
                self.stop()

        return timed

    def start(self) -> None:
        _wait(self.device)
        self.started = time.perf_counter()

    def stop(self) -> None:
        _wait(self.device)
        self.seconds += time.perf_counter() - self.started


def measure(toy: bool | None = None, seconds: float = SECONDS) -> dict[str, Any]:
    """By default full size where there is a GPU, and toy size elsewhere."""
    import torch

    from ..training.runtime import quieten

    quieten()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    toy = device == "cpu" if toy is None else toy
    started, subjects = time.monotonic(), TOY if toy else FULL
    rows: list[Row] = []
    for number, subject in enumerate(subjects):
        left = seconds - (time.monotonic() - started)
        rows += _measured(subject, device, left / (len(subjects) - number))
    return {
        "machine": torch.cuda.get_device_name() if device == "cuda" else "CPU",
        "torch": torch.__version__,
        "toy": toy,
        "seconds": time.monotonic() - started,
        "rows": [asdict(row) for row in rows],
    }


def _measured(subject: Subject, device: str, seconds: float) -> Iterator[Row]:
    """Rollouts, steps with LoRA and steps of all weights. The first two share one model."""
    end = time.monotonic() + seconds
    played, lora, whole = (Row(subject.name, trained) for trained in ("none", "LoRA", "all"))
    with _reported(played, lora, device=device):
        model, tokenizer = _loaded(subject, device, learns=False)
        with _reported(played, device=device):
            _play(subject, model, tokenizer, played)
        with _reported(lora, device=device):
            _train(subject, model, tokenizer, lora, min(end, time.monotonic() + seconds / 3))
    model = None
    with _reported(whole, device=device):
        model, tokenizer = _loaded(subject, device, learns=True)
        _train(subject, model, tokenizer, whole, end)
    yield from (played, lora, whole)


@contextmanager
def _reported(*rows: Row, device: str) -> Iterator[None]:
    """The peak memory of a part. One that does not fit says so; the others go on."""
    import torch

    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        yield
    except torch.OutOfMemoryError:
        for row in rows:
            row.problem = row.problem or f"more than the {_memory() / _GIB:.0f} GiB of this GPU"
    for row in rows:
        if row.peak_gib is None:
            row.peak_gib = (torch.cuda.max_memory_allocated() if device == "cuda" else resident_bytes()) / _GIB


def _memory() -> int:
    import torch

    total: int = torch.cuda.get_device_properties(0).total_memory
    return total


def _loaded(subject: Subject, device: str, learns: bool) -> tuple[Any, Any]:
    """bfloat16, but for weights that learn."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config

    kind = torch.float32 if learns else torch.bfloat16
    if subject.weights is not None:
        folder = subject.weights()
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=kind).to(device)
        return model, AutoTokenizer.from_pretrained(folder)
    in_full = "vocab_size" in subject.shape
    tokenizer = AutoTokenizer.from_pretrained(smollm2.fetch() if in_full else weights_of("pilot"))
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    torch.manual_seed(0)
    with torch.device(device):
        config = Qwen2Config(**({"vocab_size": len(tokenizer)} | subject.shape | ends))
        return AutoModelForCausalLM.from_config(config, dtype=kind), tokenizer


def _recipe(subject: Subject, lora: bool) -> Recipe:
    content = {
        "about": "bench gpu",
        "reward": "rubric",  # replaced below
        "data": {"train": DATA},
        "episode": {"max_searches": subject.max_searches, "hit_chars": 400},
        "group": {"personalised": subject.personalised, "baseline": 1},
        "generation": {
            "rows": max(subject.rollouts, 1), "turn_tokens": subject.turn_tokens, "max_tokens": subject.max_tokens,
        },
        "optimiser": {
            "steps": subject.steps, "questions": subject.questions, "learning_rate": 1e-5 if lora else 1e-6,
            "name": "adamw_torch" if lora else subject.optimiser,
        },
        "precision": "bfloat16",
        "gradient_checkpointing": "num_hidden_layers" in subject.shape,
        "lora": {"rank": 16, "alpha": 32} if lora else None,
        "watch": {"evaluate": 0},
    }  # fmt: skip
    return check_settings(Recipe, content, "bench gpu")


def by_transcript(episodes: Sequence[Episode]) -> list[Reward]:
    """A reward that hangs on the words alone: members of a group differ."""
    texts = ("".join(segment.text for segment in episode.segments) for episode in episodes)
    return [Reward(blake2b(text.encode(), digest_size=1).digest()[0] % 5 / 4) for text in texts]


def _play(subject: Subject, model: Any, tokenizer: Any, row: Row) -> None:
    from ..training.grpo.rollouts import engine, play

    recipe, agent = _recipe(subject, lora=True), make_agent("pr2")
    local = HFModel(model.eval(), tokenizer, rows=subject.rollouts)
    questions = islice(cycle(load_questions(DATA)), subject.rollouts)
    jobs = [Job(question, agent, number) for number, question in enumerate(questions)]
    start = time.perf_counter()
    played = asyncio.run(play(engine(recipe, local, by_transcript), jobs))
    row.episodes = len(played)
    row.rollout_tokens_per_second = sum(map(_written, played)) / (time.perf_counter() - start)
    asyncio.run(local.close())


@dataclass(slots=True)
class _Steps:
    """Seconds of each step, of its rollouts, and inside the model; tokens that were written and that were read too."""

    whole: list[float] = field(default_factory=list)
    rollouts: list[float] = field(default_factory=list)
    in_model: list[float] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    trained: list[int] = field(default_factory=list)

    def into(self, row: Row) -> None:
        """Without the first step, which warms up, where there are others."""
        first = min(1, len(self.whole) - 1)
        whole, rollouts = sum(self.whole[first:]), sum(self.rollouts[first:])
        row.steps = len(self.whole)
        row.step_seconds = whole / len(self.whole[first:])
        row.rollout_tokens_per_second = sum(self.written[first:]) / rollouts
        row.trained_tokens_per_second = sum(self.trained[first:]) / (whole - rollouts)
        row.beside_the_model = 1 - sum(self.in_model[first:]) / whole


def _train(subject: Subject, model: Any, tokenizer: Any, row: Row, end: float) -> None:
    from transformers.trainer_utils import SaveStrategy

    from ..training.grpo.trainer import PR2Trainer
    from ..training.policy import Policy

    recipe, steps = _recipe(subject, row.trained == "LoRA"), _Steps()
    device = model.device.type
    clock = _Clock(device)
    model.forward = clock.of(model.forward)  # in place, so that adapters and autocast stand around it

    def record(played: Sequence[Trajectory]) -> None:
        row.episodes += len(played)
        steps.written.append(sum(map(_written, played)))
        steps.trained.append(sum(_tokens(one) for one in played if one.kind == "personalised"))

    with TemporaryDirectory() as folder:
        questions = load_questions(DATA)
        trainer = PR2Trainer(recipe, Policy(model, tokenizer), questions, by_transcript, record, Path(folder))
        trainer.args.save_strategy = SaveStrategy.NO
        trainer.accelerator.backward = clock.of(trainer.accelerator.backward)
        trainer.add_callback(_follower(steps, clock, end))
        learning = {name: weight for name, weight in trainer.model.named_parameters() if weight.requires_grad}
        before = {name: weight.detach().flatten()[:_SAMPLE].clone() for name, weight in learning.items()}
        trainer.train()
        trainer.rollouts.close()
    moved = [(learning[name].detach().flatten()[:_SAMPLE] != weight).float().sum() for name, weight in before.items()]
    row.changed = float(sum(moved)) / sum(weight.numel() for weight in before.values())
    steps.into(row)
    if row.steps < subject.steps:
        row.problem = "no time for more steps"


def _follower(steps: _Steps, clock: _Clock, end: float) -> Any:
    from transformers import TrainerCallback

    class Follower(TrainerCallback):  # type: ignore[misc]
        """Takes the time of each step; the optimiser's work counts as the model's."""

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            _wait(clock.device)
            clock.seconds, self.begun = 0.0, time.perf_counter()

        def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
            clock.start()

        def on_optimizer_step(self, *_: Any, **__: Any) -> None:
            clock.stop()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            _wait(clock.device)
            steps.whole.append(time.perf_counter() - self.begun)
            steps.in_model.append(clock.seconds)
            if time.monotonic() > end:
                control.should_training_stop = True

        def on_log(self, args: Any, state: Any, control: Any, logs: Any, **_: Any) -> None:
            if "rollout_seconds" in logs:
                steps.rollouts.append(logs["rollout_seconds"])

    return Follower()


def _wait(device: str) -> None:
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def _written(trajectory: Trajectory) -> int:
    return sum(len(segment.tokens or ()) for segment in trajectory.segments if segment.author == "policy")


def _tokens(trajectory: Trajectory) -> int:
    return sum(len(segment.tokens or ()) for segment in trajectory.segments)


def targets(found: dict[str, Any]) -> list[Target]:
    """Weights move: updates that round to nothing are the fault that a GPU's numbers hide."""
    return [
        at_least(f"{row['model']}, {row['trained']}: share of the weights that changed", row["changed"], 0.9)
        for row in found["rows"]
        if row["changed"] is not None
    ]


def main(as_json: bool, toy: bool | None = None, out: Path | None = None) -> None:
    found = measure(toy)
    if out is not None:
        out.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    show(found, targets(found), as_json, report)


_COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "trains": lambda row: row["trained"],
    "episodes": lambda row: f"{row['episodes']:,}",
    "policy's\ntokens/s": lambda row: _figure(row["rollout_tokens_per_second"]),
    "steps": lambda row: f"{row['steps']}" if row["trained"] != "none" else "–",
    "s a\nstep": lambda row: _figure(row["step_seconds"]),
    "trained\ntokens/s": lambda row: _figure(row["trained_tokens_per_second"]),
    "peak\nGiB": lambda row: _figure(row["peak_gib"]),
    "not the\nmodel": lambda row: "–" if row["beside_the_model"] is None else f"{row['beside_the_model']:.0%}",
    "changed": lambda row: "–" if row["changed"] is None else f"{row['changed']:.1%}",
}


def report(found: dict[str, Any], console: Console) -> None:
    """A table for each model, 80 columns wide, as it may be written to a file."""
    size = "TOY SIZE: the figures say that it runs, and nothing of a GPU" if found["toy"] else "full size"
    console.print(f"{found['machine']}, torch {found['torch']}, {found['seconds']:.0f} s; {size}")
    for model, rows in groupby(found["rows"], lambda row: row["model"]):
        table = Table(title=model, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        for name in _COLUMNS:
            table.add_column(name, justify="left" if name == "trains" else "right")
        problems = []
        for row in rows:
            table.add_row(*(of(row) for of in _COLUMNS.values()))
            problems += [f"{row['trained']}: {row['problem']}"] if row["problem"] else []
        console.print(table, *problems, sep="\n", markup=False)


def _figure(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"
