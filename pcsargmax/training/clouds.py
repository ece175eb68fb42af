"""Prepared clouds in memory, augmented when they are taken, and how they are joined into batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch.utils.data import Dataset
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import Compose

from pcsargmax.backbones.pointnet2 import Neighborhoods, PointNet2
from pcsargmax.ops.neighbors import mean_neighbor_distance
from pcsargmax.ops.seeds import mix_seed
from pcsargmax.runs.symmetry import carry_labelings, pad_labelings
from pcsargmax.training.loop import Progress

#: A cloud in its frame, and the geometry of its points.
PreparedCloud: TypeAlias = tuple[Data, Neighborhoods]


class DetectorBatch(NamedTuple):
    """A ragged batch of clouds in the unit frame, and the geometry of its points."""

    clouds: Batch
    neighborhoods: Neighborhoods


class PreparedClouds(Dataset[PreparedCloud]):
    """Prepared items in memory, augmented when they are taken.

    An index is a plain number for the item as it is, or `(epoch, number)` for its augmented form of that epoch.
    Rotation and scaling leave the neighbourhoods as they were; stretching and small noise move some of their members
    (about one in seven at the defaults), and the saving is worth it. Where points are dropped they are found anew, and
    with them `sigma`.
    """

    def __init__(
        self,
        items: Sequence[PreparedCloud],
        backbone: PointNet2,
        augment: Compose | None = None,
        seed: int = 0,
    ) -> None:
        self.items, self.backbone, self.augment, self.seed = items, backbone, augment, seed

    def __len__(self) -> int:
        """Return the number of clouds."""
        return len(self.items)

    def __getitem__(self, index: int | tuple[int, int]) -> PreparedCloud:
        """Return (cloud, neighbourhoods)."""
        if isinstance(index, int):
            return self.items[index]
        epoch, number = index
        item, neighborhoods = self.items[number]
        if self.augment is None:
            return item, neighborhoods
        generator = torch.Generator().manual_seed(mix_seed(self.seed, epoch, number))
        for step in self.augment.transforms:
            step.generator = generator
        augmented = carry_labelings(self.augment, item)
        if augmented.num_nodes != item.num_nodes:
            neighborhoods = self.backbone.neighborhoods(augmented.pos)
            augmented.sigma = mean_neighbor_distance(augmented.pos)
        return augmented, neighborhoods

    def collate(self, items: Sequence[PreparedCloud]) -> DetectorBatch:
        """Join items into a batch."""
        return collate(items)


def prepare_all(
    dataset: Any, what: str, progress: Progress, prepare: Callable[[Data], PreparedCloud]
) -> list[PreparedCloud]:
    """Prepare every item of a data set, and report the progress under the name `what`."""
    items = []
    for i in range(len(dataset)):
        items.append(prepare(dataset[i]))
        progress(what, i + 1, len(dataset))
    return items


def collate(items: Sequence[PreparedCloud]) -> DetectorBatch:
    """Join prepared items into a batch; nothing in it is float64, which not every device has.

    Where all items have `keypoint_labelings`, the batch has them as (B, P, K, 3).
    """
    keys = ("pos", "keypoint_pos", "keypoint_visible", "sigma", "frame_scale")
    clouds = [Data(**{key: item[key] for key in keys if key in item}) for item, _ in items]
    for cloud in clouds:
        cloud.frame_scale = cloud.frame_scale.float()
    batch = Batch.from_data_list(clouds)
    if all("keypoint_labelings" in item for item, _ in items):
        batch.keypoint_labelings = pad_labelings([item.keypoint_labelings for item, _ in items])
    return DetectorBatch(batch, Neighborhoods.collate([n for _, n in items]))
