"""Prepared clouds in memory, augmented when they are taken, and how they are joined into batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import Compose

from pcsargmax.backbones.pointnet2 import Neighborhoods, PointNet2
from pcsargmax.models.second_look import DensePoints
from pcsargmax.ops.neighbors import mean_neighbor_distance
from pcsargmax.ops.seeds import mix_seed
from pcsargmax.runs.clouds import cloud_copies
from pcsargmax.runs.prepare import find_dense_sites, prepare, thin_dense
from pcsargmax.runs.symmetry import carry_labelings, pad_labelings
from pcsargmax.training.loop import Progress

#: A cloud in its frame, and the geometry of its points.
PreparedCloud: TypeAlias = tuple[Data, Neighborhoods]


class DetectorBatch(NamedTuple):
    """A ragged batch of clouds in the unit frame, the geometry of its points, and the dense points where all have some.

    Attributes:
        clouds: of the batch.
        neighborhoods: of their points.
        dense: (B, N, 3) dense points, (B, N) the nearest point of each, and their mask (B, N); None: there are none.
    """

    clouds: Batch
    neighborhoods: Neighborhoods
    dense: DensePoints | None = None


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
        dense_points: int = 0,
    ) -> None:
        self.items, self.backbone, self.augment, self.seed = items, backbone, augment, seed
        self.dense_points = dense_points
        self.resampled: list[list[PreparedCloud]] = []

    def __len__(self) -> int:
        """Return the number of clouds."""
        return len(self.items)

    def __getitem__(self, index: int | tuple[int, int]) -> PreparedCloud:
        """Return (cloud, neighbourhoods)."""
        if isinstance(index, int):
            item, neighborhoods = self.items[index]
            return thin_dense(item, self.dense_points), neighborhoods
        epoch, number = index
        item, neighborhoods = self._sample(epoch, number)
        if self.augment is None:
            return thin_dense(item, self.dense_points), neighborhoods
        generator = torch.Generator().manual_seed(mix_seed(self.seed, epoch, number))
        item = thin_dense(item, self.dense_points, generator)
        for step in self.augment.transforms:
            step.generator = generator
        augmented = carry_labelings(self.augment, item)
        if augmented.num_nodes != item.num_nodes:
            neighborhoods = self.backbone.neighborhoods(augmented.pos)
            augmented.sigma = mean_neighbor_distance(augmented.pos)
            find_dense_sites(augmented)
        return augmented, neighborhoods

    def add_samples(self, raw: Sequence[Data], count: int, progress: Progress) -> None:
        """Add `count` other samples of each surface or cloud, one of which every epoch takes in turn.

        Args:
            raw: the items in raw units, in the order of the prepared ones.
            count: of samples.
            progress: called with (what, done, total).
        """
        for number, item in enumerate(raw, 1):
            # Thinned first: finding the site of a dense point takes time.
            copies = (thin_dense(copy, self.dense_points) for copy in cloud_copies(item, count))
            self.resampled.append([prepare(copy, self.backbone) for copy in copies])
            progress("sampling training clouds again", number, len(raw))

    def _sample(self, epoch: int, number: int) -> PreparedCloud:
        """The sample of a surface that is due in an epoch."""
        samples = [self.items[number], *(self.resampled[number] if self.resampled else [])]
        return samples[epoch % len(samples)]

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
    return DetectorBatch(batch, Neighborhoods.collate([n for _, n in items]), _dense([item for item, _ in items]))


def _dense(items: Sequence[Data]) -> DensePoints | None:
    """Dense points of a batch, padded to the largest."""
    if not all("dense_pos" in item for item in items):
        return None
    pos = pad_sequence([item.dense_pos.float() for item in items], batch_first=True)
    site = pad_sequence([item.dense_site for item in items], batch_first=True)
    counts = torch.tensor([len(item.dense_pos) for item in items])
    if (counts == counts[0]).all():
        return DensePoints(pos, site)
    return DensePoints(pos, site, torch.arange(pos.shape[1]) < counts[:, None])
