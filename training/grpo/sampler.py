"""The order of the questions, which a resumed run goes on with where it was."""

from collections.abc import Callable, Iterator

import torch
from torch.utils.data import Sampler
from trl.trainer.utils import RepeatSampler


class EpochSampler(Sampler[int]):  # type: ignore[misc]
    """TRL's sampler, in the order of the epoch that it is in; transformers does not lead it past those before."""

    def __init__(self, plain: RepeatSampler, epoch: Callable[[], int]) -> None:
        self._plain, self._epoch = plain, epoch

    def __iter__(self) -> Iterator[int]:
        if self._plain.shuffle:
            generator = self._plain.generator.manual_seed(self._plain.seed)
            for _ in range(self._epoch()):
                torch.randperm(self._plain.num_samples, generator=generator)
        yield from self._plain

    def __len__(self) -> int:
        return len(self._plain)
