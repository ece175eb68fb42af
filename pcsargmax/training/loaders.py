"""Batches of prepared items, shuffled for training or in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import distributed as dist
from torch.utils.data import DataLoader, Sampler

from pcsargmax.ops.seeds import mix_seed


class Prepared(Protocol):
    """What the loop trains on: items by plain number, or augmented by `(epoch, number)`, and how they make a batch."""

    def __len__(self) -> int:
        """Return the number of items."""

    def __getitem__(self, index: Any, /) -> Any:
        """Return an item."""

    def collate(self, items: Any, /) -> Any:
        """Join items into a batch."""


class EpochSampler(Sampler[tuple[int, int]]):
    """Every item once an epoch, in an order that is a function of (seed, epoch); yields (epoch, number).

    Several processes share the items out, the first ones again where they do not come out even.

    Args:
        length: number of items.
        seed: of the order.
        draw: gives the numbers of an epoch where it is not each item once, always as many.
    """

    def __init__(self, length: int, seed: int, draw: Callable[[torch.Generator], torch.Tensor] | None = None) -> None:
        self.seed, self.epoch = seed, 0
        self.draw = draw or (lambda generator: torch.randperm(length, generator=generator))
        self.length = length if draw is None else len(draw(torch.Generator()))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls this, on resuming too."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of items of this process."""
        return -(-self.length // _processes()[1])

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield (epoch, number)."""
        generator = torch.Generator().manual_seed(mix_seed(self.seed, self.epoch))
        order = self.draw(generator).tolist()
        process, processes = _processes()
        for place in range(process, len(self) * processes, processes):
            yield self.epoch, order[place % self.length]


def _processes() -> tuple[int, int]:
    """Number of this process and number of processes that train together."""
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def train_loader(items: Prepared, batch_size: int, seed: int, workers: int = 0) -> DataLoader[Any]:
    """Shuffled batches of augmented items, each item once an epoch."""
    return _loader(items, batch_size, EpochSampler(len(items), seed, getattr(items, "epoch", None)), workers)


def eval_loader(items: Prepared, batch_size: int, workers: int = 0) -> DataLoader[Any]:
    """Batches in order, without augmentation."""
    return _loader(items, batch_size, None, workers)


def _loader(items: Prepared, batch_size: int, sampler: EpochSampler | None, workers: int) -> DataLoader[Any]:
    return DataLoader(
        items,  # type: ignore[arg-type]  # it needs no more than `Prepared`
        batch_size=batch_size,
        sampler=sampler,
        collate_fn=items.collate,
        generator=torch.Generator(),  # a loader draws a seed for its workers: not from the global generator
        num_workers=workers,
        persistent_workers=workers > 0,
    )
