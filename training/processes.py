"""The processes of a run: what they tell each other, errors that end all of them, and evaluations that they share."""

import asyncio
import gc
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..agents.models.model import Model
from ..errors import ProfileGymError
from ..evaluation.evaluate import Settings, Share, Speed, play_share, sum_up
from ..evaluation.run import RunDirectory

EXPECTED = (ProfileGymError, OSError)  # errors after which the state is whole: a judge that is gone, a full disk

T = TypeVar("T")


class SharedError(ProfileGymError):
    """An error of one process, raised by all of them at the same place, so that they can still save together."""


@dataclass(frozen=True, slots=True)
class Processes:
    """This process's number among those that the launcher started. All methods must be called by every process."""

    rank: int = 0
    count: int = 1

    @classmethod
    def launched(cls) -> "Processes":
        """By the environment that `torchrun` and `accelerate launch` set."""
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))

    @property
    def first(self) -> bool:
        """Whether this is the process that decides, and writes the files of which there is one."""
        return self.rank == 0

    @property
    def share(self) -> Share:
        return Share(self.rank, self.count)

    def gathered(self, value: T) -> list[T]:
        """The value of each process. None of them goes on before all have called it."""
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        found: list[T] = gather_object([value])
        return found

    def decided(self, value: T) -> T:
        """The first process's value."""
        return self.gathered(value)[0]

    @contextmanager
    def together(self) -> Iterator[None]:
        """Within it a process works alone. An error of one is raised by all: a `SharedError` if it was an expected one.

        Whatever asks the other processes for something (a gathering, a sharded weight) must stand outside.
        """
        if self.count == 1:
            yield
            return
        error: Exception | None = None
        try:
            yield
        except Exception as found:
            error = found
        told = self.gathered(None if error is None else (isinstance(error, EXPECTED), _text(error)))
        failed = [(rank, found) for rank, found in enumerate(told) if found is not None]
        if not failed:
            return
        if error is not None and not isinstance(error, EXPECTED):
            raise error
        rank, (_, text) = failed[0]
        expected = all(expected for _, (expected, _) in failed)
        raise (SharedError if expected else RuntimeError)(f"process {rank}: {text}") from error


def end_processes() -> None:
    """Ends the process group and its threads, if there is one: a process that ends with them may abort.

    The launcher would then end the other processes, whatever they still do.
    """
    if Processes.launched().count == 1:
        return
    from torch import distributed

    if distributed.is_initialized():
        gc.collect()  # a trainer that is still in memory keeps the group, and with it the threads
        distributed.destroy_process_group()


def evaluate_together(
    processes: Processes, settings: Settings, run: RunDirectory, speed: Speed, model: Model | None, share: Share | None
) -> dict[str, Any]:
    """As `evaluate`, by all processes: each plays its share of the questions, or none, and gets the summary."""
    with ExitStack() as stack:
        with processes.together():
            if processes.first:
                stack.enter_context(run.writing(asdict(settings)))
        with processes.together():
            if share is not None:
                asyncio.run(play_share(settings, run, speed, model, share))
        summary: dict[str, Any] = {}
        with processes.together():
            if processes.first:
                summary = sum_up(run)
    return processes.decided(summary)


def sharding_problems(engine: str) -> Iterator[str]:
    """What is wrong with how the launcher spreads the weights, by the environment that it sets."""
    if _is_set("ACCELERATE_USE_DEEPSPEED"):
        yield (
            "DeepSpeed (ZeRO) is not supported: the loss takes several backward passes before a step, which its engine "
            "counts as steps, and rollouts need whole weights. Launch with training/launch/ddp.yaml, or with "
            "training/launch/fsdp2.yaml where one GPU cannot hold the weights (docs/processes.md)"
        )
    if not _is_set("ACCELERATE_USE_FSDP"):
        return
    version = os.environ.get("FSDP_VERSION", "1")
    if version != "2":
        yield f"FSDP version {version} is not supported: set fsdp_version: 2, as training/launch/fsdp2.yaml does"
    if _is_set("FSDP_CPU_RAM_EFFICIENT_LOADING"):
        yield (
            "fsdp_cpu_ram_efficient_loading: true is not supported: the trained policy, a retriever and a reward would "
            "have no weights in any process but the first. Set it to false, as training/launch/fsdp2.yaml does"
        )
    if _is_set("FSDP_ACTIVATION_CHECKPOINTING"):
        yield (
            "fsdp_activation_checkpointing: true is not supported: adapters would be missing in what is saved. Set it "
            "to false, as training/launch/fsdp2.yaml does, and gradient_checkpointing=true in the recipe"
        )
    if engine != "vllm-server":
        yield (
            f"generation.engine={engine} needs whole weights, and FSDP shards them: set generation.engine=vllm-server "
            "and generation.vllm_server=URL, or launch with training/launch/ddp.yaml (docs/processes.md)"
        )


def resuming_problems(checkpoint: str | None) -> Iterator[str]:
    """What is wrong with going on from a checkpoint as this run was launched; any number of processes can."""
    if checkpoint is None:
        return
    sharded, launched = any(Path(checkpoint).glob("pytorch_model_fsdp*")), _is_set("ACCELERATE_USE_FSDP")
    if sharded and not launched:
        yield (
            f"{checkpoint} was saved by processes that shared the weights (FSDP2), and this command was launched "
            "without FSDP2: launch it with fsdp2.yaml and any number of processes, or start in another directory"
        )
    if launched and not sharded:
        yield (
            f"{checkpoint} was saved by processes that had all weights, and this command was launched with FSDP2: "
            "launch it with torchrun or ddp.yaml and any number of processes, or start in another directory"
        )


def _is_set(name: str) -> bool:
    return os.environ.get(name, "false").lower() in ("true", "1")


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, ProfileGymError) else f"{type(error).__name__}: {error}"
