"""A run that is asked to stop, and what it goes on from."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from ..errors import ProfileGymError

CHECKPOINTS = "checkpoints"


class Stopped(ProfileGymError):
    """A run that ended before its last step, with its state saved; the message says how to resume it."""

    def __init__(self, what: str, step: int, out: Path) -> None:
        super().__init__(f"{what}, after step {step}; the same command goes on from the newest checkpoint in {out}")


@dataclass
class Interruption:
    """The name of the signal that asked the run to stop, if any."""

    by: str | None = None


@contextmanager
def signals(interruption: Interruption) -> Iterator[None]:
    """The first SIGINT or SIGTERM ends the run after the current step, the second one at once."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def noted(number: int, frame: FrameType | None) -> None:
        if interruption.by:
            raise KeyboardInterrupt
        interruption.by = signal.Signals(number).name

    try:
        for number in before:
            signal.signal(number, noted)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def last_checkpoint(out: Path) -> str | None:
    """The newest complete checkpoint: its state file is written last."""
    whole = [path for path in (out / CHECKPOINTS).glob("checkpoint-*") if (path / "trainer_state.json").exists()]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


def steps_done(out: Path) -> int:
    """The step of the newest complete checkpoint."""
    checkpoint = last_checkpoint(out)
    return int(checkpoint.rpartition("-")[2]) if checkpoint else 0
