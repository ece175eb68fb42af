"""What all procedural data sets of images share: items by seed, split and number."""

from __future__ import annotations

import zlib
from typing import ClassVar

import numpy as np

SPLITS = ("train", "val", "test")


class Drawn:
    """A data set whose items are drawn when they are asked for, each from the seed, the split and its number alone.

    The same arguments give the same images to the bit; another number of items, the same first ones.

    Args:
        split: "train", "val" or "test"; splits are independent draws.
        num_items: images in it; None: as many as `default_items` says.
        size: height and width of the images, or one number for both; at least 32.
        seed: of all that is drawn.

    Raises:
        ValueError: an unknown split, no item, images too small, or a negative seed.
    """

    kind: ClassVar[str] = "image"
    default_items: ClassVar[dict[str, int]] = {"train": 800, "val": 100, "test": 400}

    def __init__(
        self,
        split: str = "train",
        *,
        num_items: int | None = None,
        size: int | tuple[int, int] = 96,
        seed: int = 0,
    ) -> None:
        """See the class."""
        if split not in SPLITS:
            raise ValueError(f'split must be "train", "val" or "test", got {split!r}')
        self._num_items = self.default_items[split] if num_items is None else int(num_items)
        if self._num_items < 1:
            raise ValueError(f"num_items must be at least 1, got {num_items}")
        height, width = (size, size) if isinstance(size, int) else size
        if min(height, width) < 32:
            raise ValueError(f"size must be at least 32, got {size}")
        if seed < 0:
            raise ValueError(f"seed must not be negative, got {seed}")
        self.split, self.size, self.seed = split, (int(height), int(width)), seed

    @property
    def names(self) -> tuple[str, ...]:
        """Of all items, in their order."""
        return tuple(self._name(number) for number in range(len(self)))

    def __len__(self) -> int:
        """Number of items."""
        return self._num_items

    def _name(self, number: int) -> str:
        return f"{self.kind}-{self.split}-{number:05d}"

    def _number(self, index: int) -> int:
        """The number of an item, from the end if negative."""
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        return number

    def _rng(self, number: int, what: str = "") -> np.random.Generator:
        """The generator of an item, or of something else that has a number."""
        return np.random.default_rng(
            [self.seed, zlib.crc32((self.kind + what).encode()), SPLITS.index(self.split), number]
        )
