"""TRL's asynchronous trainer: what this package's rollout worker pushes for it, with a scripted model."""

import time
from collections.abc import Sequence
from typing import Any

from scripted import ASKED, DATA, OPTIONS, QUESTIONS, Facts, Played, Script, judge_of, main, played

import profilegym as pg
from profilegym.envs.trajectory import Segment
from profilegym.errors import RewardError
from profilegym.interop.trl import rollout_worker
from profilegym.training.recipe import Recipe
from profilegym.training.settings import check_settings

FACTS = Facts(
    "TRL `rollout_worker`", ("trl",), "yes, masked or learning, as the recipe says", "never pushed to the trainer",
    "this package's, exact",
)  # fmt: skip
RECIPE = {
    "about": "a test",
    "model": "hf:none",
    "reward": "rubric",
    "judge": "rubric",
    "data": {"train": DATA},
    "group": {"personalised": 2, "baseline": 1},
    "optimiser": {"steps": 1, "questions": 1},
    "episode": OPTIONS,
    "watch": {"evaluate": 0},
}


def as_bytes(segment: Segment) -> list[int]:
    return list(segment.text.encode())


class Scripted:
    """Writes the turns of a script; without searches, that it does not know."""

    name = "scripted"

    def __init__(self, script: Script) -> None:
        self.texts = script.texts("tags")
        self.shown: list[str] = []

    def open(self, question: pg.Question, seed: int | None) -> "Scripted":
        return self

    async def generate(self, segments: Sequence[Segment], sampling: Any, stop: Sequence[str]) -> pg.Turn:
        told = [segment.text for segment in segments if segment.author == "environment"]
        if "nothing to search" in told[0]:
            text = "<answer>I do not know.</answer>"
        else:
            self.shown = max(self.shown, told, key=len)
            text = self.texts[len(told) - 1]
        tokens = list(text.encode())
        return pg.Turn(text, tokens, [-0.5] * len(tokens), [as_bytes(segment) for segment in segments])

    def close(self) -> Any:
        """Of a session, and awaited of a model."""
        return _nothing()


class _nothing:  # noqa: N801
    def __await__(self) -> Any:
        return iter(())


def play(script: Script) -> Played:
    model, records = Scripted(script), []
    worker = rollout_worker(
        check_settings(Recipe, RECIPE, "a test"), QUESTIONS, model, pg.make_reward(judge_of(script)),
        lambda _: as_bytes, records.extend, ahead=1, order=[ASKED],
    )  # fmt: skip
    worker.start()
    end, failed = time.monotonic() + 120, False
    while worker.metrics_queue.empty() and not failed:
        assert time.monotonic() < end
        time.sleep(0.01)
        try:
            worker.check_health(120)
        except RewardError:  # so many could not be scored that training would stop
            failed = True
    worker.stop()
    samples = [worker.rollout_buffer.get() for _ in range(worker.rollout_buffer.qsize())]
    assert failed or len(samples) == 2
    if samples and samples[0].metrics["reward"] == 1.0:
        assert all(sample.advantage > 0 for sample in samples), "the control did not enter the mean"
    own = next(record for record in records if record.kind == "personalised")
    return played(own, model.shown, samples[0].metrics["reward"] if samples else None, not samples)


main(FACTS, play)
