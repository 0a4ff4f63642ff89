"""Several processes that teach one model, each from its share of every batch: a small model does not fill two cores."""

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Member:
    """One of `count` processes."""

    place: int = 0
    count: int = 1

    def own(self, examples: Sequence[T]) -> Sequence[T]:
        """Its share: every `count`-th, and as many as the others have."""
        return examples[self.place : len(examples) - len(examples) % self.count : self.count]

    def average(self, model: Any) -> None:
        """Every process has the mean of all gradients then."""
        import torch

        if self.count == 1:
            return
        gradients = [weights.grad for weights in model.parameters() if weights.grad is not None]
        total = torch.cat([gradient.flatten() for gradient in gradients])
        torch.distributed.all_reduce(total)
        for gradient, mean in zip(gradients, total.div_(self.count).split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


def learn_together(count: int, folder: Path, learn: Callable[[Member], T]) -> T:
    """Each process does `learn`, and what the first gives is what all have learned; they meet in a file there."""
    meet = folder / "meeting"
    meet.unlink(missing_ok=True)
    with ProcessPoolExecutor(count, get_context("spawn")) as processes:
        first, *_ = processes.map(partial(_learn, meet, learn), [Member(place, count) for place in range(count)])
        return first


def _learn(meet: Path, learn: Callable[[Member], T], member: Member) -> T:
    import torch

    torch.set_num_threads(max(1, (os.cpu_count() or 1) // member.count))
    if sys.platform.startswith("linux"):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # nobody else is to hear of it
    at = meet.absolute().as_uri()
    torch.distributed.init_process_group("gloo", init_method=at, rank=member.place, world_size=member.count)
    try:
        return learn(member)
    finally:
        torch.distributed.destroy_process_group()
