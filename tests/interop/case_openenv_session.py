"""OpenEnv's trainable session: the trace that its own types validate, token by token what the model read and wrote."""

import asyncio
from collections.abc import Sequence
from typing import Any

from openenv.core.harness import TrainableSession
from scripted import ASKED, Facts, Played, Script, driver_options, main, played

import profilegym as pg
from profilegym.envs.trajectory import Segment
from profilegym.interop.driver import Driver
from profilegym.interop.openenv_session import ProfileSessions

FACTS = Facts(
    "OpenEnv `TrainableSession`", ("openenv",), "by the trainer: a task with `kind: baseline`, masked",
    "`env_reward=None`, the reason in `metrics`", "this package's, exact",
)  # fmt: skip


def as_bytes(segment: Segment) -> list[int]:
    return list(segment.text.encode())


class Scripted:
    """Writes the turns of a script; `wait` seconds before each."""

    name = "scripted"

    def __init__(self, script: Script, wait: float = 0) -> None:
        self.texts, self.wait = script.texts("tags"), wait

    def open(self, question: pg.Question, seed: int | None) -> "Scripted":
        return self

    async def generate(self, segments: Sequence[Segment], sampling: Any, stop: Sequence[str]) -> pg.Turn:
        await asyncio.sleep(self.wait)
        text = self.texts[len(segments) // 2]
        tokens = list(text.encode())
        return pg.Turn(text, tokens, [-0.5] * len(tokens), [as_bytes(segment) for segment in segments])

    def close(self) -> None:
        """Nothing is held."""


def play(script: Script) -> Played:
    records: list[pg.Trajectory] = []
    driver = Driver(**driver_options(script, records))
    session = ProfileSessions(driver, Scripted(script)).create(ASKED, episode_id="one")
    assert isinstance(session, TrainableSession)
    assert session.wait_for_completion(60) == 0
    turns, result = session.fetch_training_trace().turns, session.verify([])
    (record,) = records
    wrote = [segment for segment in record.segments if segment.author == "policy"]
    assert [bytes(turn.completion_token_ids).decode() for turn in turns] == [segment.text for segment in wrote]
    for number, turn in enumerate(turns):
        read = "".join(segment.text for segment in record.segments[: 2 * number + 1])
        assert bytes(turn.prompt_token_ids).decode() == read
        assert sum(turn.loss_mask) == len(turn.completion_token_ids)
    shown = [segment.text for segment in record.segments if segment.author == "environment"]
    check_control_and_time_out(script, driver)
    return played(record, shown, result.env_reward, result.env_reward is None)


def check_control_and_time_out(script: Script, driver: Driver) -> None:
    control = ProfileSessions(driver, Scripted(script)).create({"id": ASKED, "kind": "baseline"})
    control.wait_for_completion(60)
    assert not any(one for turn in control.fetch_training_trace().turns for one in turn.loss_mask)
    late = ProfileSessions(driver, Scripted(script, wait=60)).create(ASKED)
    assert late.wait_for_completion(0.01) == 1
    assert late.verify([]).env_reward is None


main(FACTS, play)
