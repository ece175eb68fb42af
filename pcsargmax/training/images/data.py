"""Images as training takes them: opened by name, cut out, augmented; items a function of (seed, epoch, index)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pcsargmax.datasets.images.augment import ImageAugment
from pcsargmax.datasets.images.item import ImageItem, KeypointImages, can_flip
from pcsargmax.ops.seeds import mix_seed
from pcsargmax.runs.image_sources import open_images, warn_left_out
from pcsargmax.runs.map_frame import MapFrame
from pcsargmax.runs.prepare_images import slice_tensor, to_tensor
from pcsargmax.settings.images import ImageSettings
from pcsargmax.transforms.crop import Crop

#: How many bytes of images are kept in memory for the next epoch, in each process that reads them.
KEPT_BYTES = 2**29


class ImageBatch(NamedTuple):
    """Inputs of a network and what is to be found in them.

    Attributes:
        images: (B, 3, h, w) float32.
        target: (B, K, D) cells of the maps, 0 where nothing is known.
        visible: (B, K) bool, whether x and y are known and within the input.
        has_depth: (B, K) bool, whether the depth is known too; of 2-D maps all False.
    """

    images: Tensor
    target: Tensor
    visible: Tensor
    has_depth: Tensor


class SurfaceBatch(NamedTuple):
    """Slices, and the rows of the surfaces in them.

    Attributes:
        images: (B, 1, H, W) float32.
        rows: (B, S, W) float32, 0 where unknown.
        known: (B, S, W) bool.
    """

    images: Tensor
    rows: Tensor
    known: Tensor


def open_training_images(settings: ImageSettings, split: str) -> Any:
    """Open a split to train on: as `open_images`, but Human3.6M with the people of MPII whose folder is set."""
    dataset = open_images(settings, split)
    if not settings.mpii:
        return dataset
    from pcsargmax.datasets.images.mpii import Human36mMpii, MpiiKeypoints

    people = MpiiKeypoints(Path(settings.mpii).expanduser(), human36m=True)
    warn_left_out(people, settings.mpii)
    return Human36mMpii(dataset, people)


def image_augmentation(settings: ImageSettings, dataset: KeypointImages) -> ImageAugment:
    """The random crops of the settings; nothing is mirrored where the data do not say what changes places."""
    return ImageAugment(
        flip=settings.flip if can_flip(dataset) else 0.0,
        scale=settings.scale,
        rotation=settings.rotate,
        rotation_probability=settings.rotate_probability,
        rotation_law=settings.rotate_law,
        shift=settings.shift,
        padding=settings.padding,
    )


def cut_out(item: ImageItem, crop: Crop, frame: MapFrame, order: np.ndarray | None = None) -> ImageBatch:
    """A batch of one: what a network sees of an item by a crop.

    Args:
        item: of a data set.
        crop: that gives the input.
        frame: of the maps.
        order: (K,) rows of the keypoints, as `ImageAugment` gives them; None leaves them as they are.
    """
    cells = frame.to_cells(crop, item.keypoints)
    visible = item.visible & frame.inside(crop, item.keypoints)
    if order is not None:
        cells, visible = cells[order], visible[order]
    depth = visible & np.isfinite(cells[:, 2]) if frame.dimension == 3 else np.zeros_like(visible)
    target = np.where(visible[:, None] & np.isfinite(cells), cells, 0)
    parts = (target.astype(np.float32), visible, depth)
    return ImageBatch(to_tensor(crop.image(item.image))[None], *(torch.from_numpy(part)[None] for part in parts))


class KeptItems:
    """Items of a data set; the first ones taken stay in memory, as drawing or reading them may cost more than a step.

    Args:
        dataset: of items with an `image`.
        most: bytes of images that are kept.
    """

    def __init__(self, dataset: Any, most: int = KEPT_BYTES) -> None:
        self.dataset, self.left = dataset, most
        self._kept: dict[int, Any] = {}

    def __getitem__(self, number: int) -> Any:
        """Return an item."""
        if number in self._kept:
            return self._kept[number]
        item = self.dataset[number]
        if item.image.nbytes <= self.left:
            self.left -= item.image.nbytes
            self._kept[number] = item
        return item


class PreparedImages(Dataset[ImageBatch]):
    """Items cut out of their images, augmented, when they are taken.

    An index is a plain number for the item as it is, or `(epoch, number)` for its augmented form of that epoch.

    Args:
        dataset: of images with keypoints.
        frame: of the maps.
        padding: room around the boxes of items that are not augmented.
        augment: makes the random crops; None makes plain ones.
        seed: of these.
    """

    def __init__(
        self,
        dataset: KeypointImages,
        frame: MapFrame,
        padding: float,
        augment: ImageAugment | None = None,
        seed: int = 0,
    ) -> None:
        self.dataset, self.frame, self.padding, self.augment, self.seed = dataset, frame, padding, augment, seed
        self.items = KeptItems(dataset)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.dataset)

    def epoch(self, generator: torch.Generator) -> Tensor:
        """Numbers of the items of an epoch: as the data set draws them, if it does, else each once, shuffled."""
        own = getattr(self.dataset, "epoch", None)
        return torch.randperm(len(self), generator=generator) if own is None else own(generator)

    def __getitem__(self, index: int | tuple[int, int]) -> ImageBatch:
        """Return a batch of one."""
        epoch, number = (0, index) if isinstance(index, int) else index
        item = self.items[number]
        if isinstance(index, int) or self.augment is None:
            return cut_out(item, Crop.around(item.box, self.frame.size, padding=self.padding), self.frame)
        generator = torch.Generator().manual_seed(mix_seed(self.seed, epoch, number))
        crop, order = self.augment(item, self.frame.size, generator, self.dataset.flip_pairs)
        return cut_out(item, crop, self.frame, order)

    def collate(self, items: Sequence[ImageBatch]) -> ImageBatch:
        """Join batches."""
        return ImageBatch(*(torch.cat(parts) for parts in zip(*items, strict=True)))


class PreparedSlices(Dataset[SurfaceBatch]):
    """Slices with surfaces, mirrored at random.

    Args:
        dataset: of slices.
        flip: share of mirrored ones where an index is `(epoch, number)`.
        seed: of that.
    """

    def __init__(self, dataset: Any, flip: float = 0.0, seed: int = 0) -> None:
        self.dataset, self.flip, self.seed = dataset, flip, seed
        self.items = KeptItems(dataset)

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self.dataset)

    def __getitem__(self, index: int | tuple[int, int]) -> SurfaceBatch:
        """Return a batch of one."""
        epoch, number = (0, index) if isinstance(index, int) else index
        item = self.items[number]
        image, rows = slice_tensor(item.image), torch.from_numpy(item.surfaces).float()
        if not isinstance(index, int):
            generator = torch.Generator().manual_seed(mix_seed(self.seed, epoch, number))
            if torch.rand(1, generator=generator).item() < self.flip:
                image, rows = image.flip(-1), rows.flip(-1)
        known = rows.isfinite()
        return SurfaceBatch(image[None], rows.where(known, 0)[None], known[None])

    def collate(self, items: Sequence[SurfaceBatch]) -> SurfaceBatch:
        """Join batches; slices of unlike sizes are an error that names both."""
        shapes = {tuple(item.images.shape[2:]) for item in items}
        if len(shapes) > 1:
            raise ValueError(f"slices: expected one size in a batch, got {sorted(shapes)}; take --batch-size 1")
        return SurfaceBatch(*(torch.cat(parts) for parts in zip(*items, strict=True)))
