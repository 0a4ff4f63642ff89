"""`profilegym bench train`: a training step beside the bare loop of the same model and tokens."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ..agents.agent import make_agent
from ..agents.models.model import Turn
from ..agents.rollout import Job, Rollout
from ..envs.chat import Sampling
from ..envs.data import load_questions
from ..envs.episode import Episode
from ..envs.question import Question
from ..envs.retrieval import make_retriever
from ..envs.reward import Reward
from ..envs.trajectory import Segment, Trajectory
from ..rewards import make_reward
from ..training.recipe import Recipe, load_recipe
from . import loss
from .measurement import Target, at_most, show

STEPS, QUESTIONS = 8, 8  # of five episodes each
JUDGE = 0.05  # latency of the slow judge, in seconds
ROLLOUTS = (8, 64)
ROUNDS = 5
_WIDE = "qwen2.5-0.5b-shape"


class Recorded:
    """A model that repeats recorded turns, in the order in which episodes begin, at no cost."""

    name = "recorded"

    def __init__(self, played: Sequence[Trajectory]) -> None:
        self._turns = iter([[s for s in t.segments if s.author == "policy"] for t in played])

    def open(self, question: Question, seed: int | None) -> "RecordedSession":
        return RecordedSession(iter(next(self._turns)))

    async def close(self) -> None:
        pass


class RecordedSession:
    def __init__(self, turns: Iterator[Segment]) -> None:
        self._turns = turns

    async def generate(self, said: Sequence[Segment], sampling: Sampling, stop: Sequence[str]) -> Turn:
        turn = next(self._turns)
        return Turn(turn.text, turn.tokens, completion_tokens=len(turn.tokens or ()))

    def close(self) -> None:
        pass


def measure() -> dict[str, Any]:
    steps, bare, beside = _steps()
    return {
        "step_ms": _ms(steps),
        "bare_ms": _ms(bare),
        "step_over_bare": statistics.median(s / b for s, b in zip(steps, bare, strict=True)),
        "beside_the_model_ms": _ms(beside),
        "beside_the_model": statistics.median(e / s for e, s in zip(beside, steps, strict=True)),
        "reward_phase": {str(count): _reward_phase(count) for count in ROLLOUTS},
        "loss": {name: loss.measure(name) for name in loss.MODELS},
    }


def targets(found: dict[str, Any]) -> list[Target]:
    return [
        at_most("a step over the bare loop of the same model and tokens", found["step_over_bare"], 1.25),
        at_most("of a step, environment, retrieval and instant judge", found["beside_the_model"], 0.05),
        *(
            at_most(
                f"the reward phase over one judge latency, {count} rollouts", found["reward_phase"][str(count)], 1.3
            )
            for count in ROLLOUTS
        ),
        at_most("the loss of smollm2, time over TRL's", found["loss"]["smollm2"]["time_over_trl"], 0.75),
        at_most("the loss of smollm2, peak memory over TRL's", found["loss"]["smollm2"]["memory_over_trl"], 0.7),
        at_most("151,936 tokens of vocabulary, peak memory over TRL's", found["loss"][_WIDE]["memory_over_trl"], 0.5),
    ]


def _steps() -> tuple[list[float], list[float], list[float]]:
    """Seconds of each step: the trainer's, the bare loop's on what was played, and the episodes' without a model."""
    from ..training.runtime import quieten
    from ..training.train import train

    quieten()
    steps, bare, beside = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        recipe = load_recipe("pr2-world", [f"optimiser.steps={STEPS}", f"optimiser.questions={QUESTIONS}", *_ALONE])
        loop = BareLoop(recipe)

        def tell(step: int, metrics: Any) -> None:
            played = _newest(Path(folder), QUESTIONS * recipe.group.size)
            steps.append(metrics["step_time"])
            bare.append(loop.step(played))
            beside.append(_without_a_model(recipe, played))

        train(recipe, Path(folder), tell)
    return steps[1:], bare[1:], beside[1:]  # the first step warms up


_ALONE = ("watch.evaluate=0", "watch.save=1000")


def _newest(out: Path, count: int) -> list[Trajectory]:
    """In the order of their rows."""
    lines = (out / "trajectories.jsonl").read_bytes().splitlines()[-count:]
    return [Trajectory.from_json(line) for line in lines]


class BareLoop:
    """The least that such a step takes: sampling with a key-value cache in lock-step, one pass there and back, AdamW.

    Turn by turn it reads what the environment said and samples as many tokens as the longest of the rows' turns, then
    learns from the whole padded batch.
    """

    def __init__(self, recipe: Recipe) -> None:
        import torch

        from ..training.policy import load_policy

        policy = load_policy(recipe.model, recipe.precision)
        self._torch, self._model, self._tokenizer = torch, policy.model, policy.tokenizer
        self._optimiser = torch.optim.AdamW(self._model.parameters(), lr=recipe.optimiser.learning_rate)

    def step(self, played: Sequence[Trajectory]) -> float:
        rows = [[(s.author, self._tokens(s)) for s in t.segments] for t in played]
        advantages = self._torch.tensor([t.advantage or 0.0 for t in played])
        start = time.perf_counter()
        self._sample(rows)
        self._learn(rows, advantages)
        return time.perf_counter() - start

    def _tokens(self, segment: Segment) -> list[int]:
        return list(segment.tokens or self._tokenizer(segment.text, add_special_tokens=False)["input_ids"])

    def _sample(self, rows: list[Any]) -> None:
        torch, model = self._torch, self._model.eval()
        with torch.inference_mode():
            for turn in range(0, max(map(len, rows)), 2):
                live = [row for row in rows if len(row) > turn + 1]
                read = self._padded([[token for _, tokens in row[: turn + 1] for token in tokens] for row in live])
                out = model(read, use_cache=True)
                for _ in range(max(len(row[turn + 1][1]) for row in live)):
                    token = torch.multinomial(out.logits[:, -1].softmax(-1), 1)
                    out = model(token, past_key_values=out.past_key_values, use_cache=True)

    def _learn(self, rows: list[Any], advantages: Any) -> None:
        torch, model = self._torch, self._model.train()
        ids = self._padded([[token for _, tokens in row for token in tokens] for row in rows])
        mask = self._padded([[int(author == "policy") for author, tokens in row for _ in tokens] for row in rows], 0)
        logits = model(ids[:, :-1]).logits
        chosen = logits.log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)
        loss = -(chosen * mask[:, 1:] * advantages[:, None]).sum() / mask.sum()
        self._optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        self._optimiser.step()

    def _padded(self, rows: Sequence[Sequence[int]], fill: int | None = None) -> Any:
        width = max(map(len, rows))
        padding = self._tokenizer.pad_token_id if fill is None else fill
        return self._torch.tensor([[padding] * (width - len(row)) + list(row) for row in rows])


def _without_a_model(recipe: Recipe, played: Sequence[Trajectory]) -> float:
    """Seconds for the same episodes when the model's turns are there at once."""
    rollout = Rollout(
        Recorded(played),
        make_retriever(recipe.retriever),
        make_reward(recipe.reward),
        options=recipe.episode.model_dump(),
    )
    return _play(rollout, _jobs(recipe, played))


def _reward_phase(count: int) -> float:
    """The time that a slow judge adds to a step's rollouts, in units of its latency."""
    recipe = load_recipe("pr2-world")
    questions = load_questions("world:seed=7,users=200/test")
    jobs = [Job(questions[place % len(questions)], make_agent("none"), place) for place in range(count)]
    answered = ["<think>so</think><answer>tea</answer>"] * count

    async def instant(episodes: Sequence[Episode]) -> list[Reward]:
        return [Reward(1.0)] * len(episodes)

    async def slow(episodes: Sequence[Episode]) -> list[Reward]:
        async def judged() -> Reward:
            await asyncio.sleep(JUDGE)
            return Reward(1.0)

        return await asyncio.gather(*(judged() for _ in episodes))

    def seconds(reward: Any) -> float:
        said = [_answered(text) for text in answered]
        model = Recorded(said)
        return _play(Rollout(model, make_retriever(recipe.retriever), reward), jobs)

    return statistics.median(seconds(slow) - seconds(instant) for _ in range(ROUNDS)) / JUDGE


def _answered(text: str) -> Trajectory:
    return Trajectory("", "", "", "baseline", ["policy", text, None, None], (), None, None)


def _jobs(recipe: Recipe, played: Sequence[Trajectory]) -> list[Job]:
    questions = load_questions(recipe.data.train)
    agents = {"personalised": make_agent(recipe.agent), "baseline": make_agent("none")}
    return [Job(questions.find(t.question_id), agents[t.kind], place) for place, t in enumerate(played)]


def _play(rollout: Rollout, jobs: Sequence[Job]) -> float:
    async def all_of_them() -> int:
        return len([trajectory async for trajectory in rollout.run(jobs)])

    start = time.perf_counter()
    asyncio.run(all_of_them())
    return time.perf_counter() - start


def _ms(seconds: Sequence[float]) -> dict[str, float]:
    return {"median": 1e3 * float(np.median(seconds)), "least": 1e3 * min(seconds), "most": 1e3 * max(seconds)}


def main(as_json: bool = False) -> None:
    found = measure()
    show(found, targets(found), as_json, _report)


def _report(found: dict[str, Any], console: Console) -> None:
    table = Table("", "median ms", "least", "most", title=f"{QUESTIONS} questions of five episodes, {STEPS - 1} steps")
    for name, key in (
        ("a training step", "step_ms"),
        ("the bare loop", "bare_ms"),
        ("the episodes without the model", "beside_the_model_ms"),
    ):
        table.add_row(name, *(f"{found[key][figure]:,.1f}" for figure in ("median", "least", "most")))
    console.print(table)
