"""Data as training takes them: normalised once, augmented afresh, items a function of (seed, epoch, index)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor
from torch import distributed as dist
from torch.utils.data import DataLoader, Dataset, Sampler
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import BaseTransform, Compose

from pcsargmax.backbones.pointnet2 import Neighborhoods, PointNet2
from pcsargmax.io.markups import Frame
from pcsargmax.ops.neighbors import farthest_point_order, mean_neighbor_distance
from pcsargmax.runs.symmetry import carry_labelings, pad_labelings
from pcsargmax.settings.common import RunSettings, parse_shares
from pcsargmax.settings.detector import TrainSettings, parse_ids
from pcsargmax.transforms.augment import (
    PointDropout,
    RandomJitter,
    RandomMirror,
    RandomRotation,
    RandomScale,
    find_mirror_pairs,
)
from pcsargmax.transforms.frames import NormalizeFrame


class DetectorBatch(NamedTuple):
    """A ragged batch of clouds in the unit frame, and the geometry of its points."""

    clouds: Batch
    neighborhoods: Neighborhoods


def open_dataset(settings: TrainSettings, split: str, progress: Callable[[int, int], None] | None = None) -> Any:
    """Open a split of what `settings.data` names: a LandmarkFolder where it is a folder, else a KeypointNet category.

    Raises:
        ValueError: neither a folder nor a category; errors of the data sets themselves.
    """
    from pcsargmax.datasets.keypointnet import KeypointNet

    if not is_folder(settings) and Path(settings.data).name != settings.data:
        raise ValueError(f"{settings.data}: no such folder, and not the name of a category")
    if is_folder(settings):
        if settings.ids:
            raise ValueError(f"ids are for KeypointNet's semantic ids; {settings.data} is a folder of landmarks")
        if settings.symmetry != "none":
            raise ValueError(
                f"symmetry {settings.symmetry!r} is for KeypointNet's annotated symmetries; {settings.data} is a "
                "folder of landmarks"
            )
        return open_folder(settings, split, progress)
    return KeypointNet(settings.root, settings.data, split, ids=parse_ids(settings.ids), progress=progress)


def open_folder(
    settings: RunSettings,
    split: str,
    progress: Callable[[int, int], None] | None = None,
    *,
    unlabelled: bool = False,
) -> Any:
    """Open a split of the folder `settings.data` as a LandmarkFolder, whose clouds may lack landmarks if unlabelled."""
    from pcsargmax.datasets.landmarks import LandmarkFolder

    return LandmarkFolder(
        settings.data,
        split,
        num_points=settings.num_points,
        seed=settings.split_seed,
        shares=parse_shares(settings.shares),
        mesh_frame=cast(Frame, settings.mesh_frame),
        unlabelled=unlabelled,
        progress=progress,
    )


def is_folder(settings: RunSettings) -> bool:
    """Whether the data are a folder of the user's own; a category below `root` of the same name goes first."""
    annotations = Path(settings.root) / "annotations" / f"{settings.data}.json"
    return Path(settings.data).is_dir() and not annotations.is_file()


def model_ids(dataset: Any) -> list[str]:
    """The name of each shape of a data set."""
    return [dataset[i].model_id for i in range(len(dataset))]


def prepare(
    item: Data, backbone: PointNet2, normalize: Callable[[Data], Data] | None = None
) -> tuple[Data, Neighborhoods]:
    """Put a cloud item into its frame and farthest-point order and find its neighbourhoods.

    The item gains `sigma (1,)`, the mean neighbour distance in that frame: the unit frame, or the one that
    `normalize` makes.
    """
    item = carry_labelings(normalize or NormalizeFrame(), item)
    if not item.get("farthest_order"):
        item = reorder(item, farthest_point_order(item.pos))
    item.sigma = mean_neighbor_distance(item.pos)
    return item, backbone.neighborhoods(item.pos)


def reorder(item: Data, order: Tensor) -> Data:
    """A copy whose points are in the given order, `keypoint_site` following them."""
    item = item.clone()
    for key in ("pos", "color", "normal"):
        if key in item:
            item[key] = item[key][order]
    if "keypoint_site" in item:
        site = item.keypoint_site
        item.keypoint_site = torch.where(site >= 0, order.argsort()[site.clamp_min(0)], site)
    item.farthest_order = True
    return item


def augmentation(settings: TrainSettings, items: Sequence[Data]) -> Compose:
    """The random transforms of the settings; `items` (unit frame) tell which keypoints a reflection exchanges."""
    steps: list[BaseTransform] = []
    if settings.mirror != "none":
        keypoints = torch.cat([item.keypoint_pos for item in items])
        visible = torch.cat([item.keypoint_visible for item in items])
        steps.append(RandomMirror(settings.mirror, find_mirror_pairs(keypoints, visible, settings.mirror)))
    if settings.rotate:
        steps.append(RandomRotation(settings.rotate, settings.rotate_axis))
    if settings.scale:
        steps.append(RandomScale(1 - settings.scale, 1 + settings.scale))
    if settings.stretch:
        steps.append(RandomScale(1 - settings.stretch, 1 + settings.stretch, per_axis=True))
    if settings.jitter:
        steps.append(RandomJitter(settings.jitter, clip=3 * settings.jitter))
    if settings.drop_points:
        steps.append(PointDropout(settings.drop_points))
    return Compose(steps)


class Prepared(Protocol):
    """What the loop trains on: items by plain number, or augmented by `(epoch, number)`, and how they make a batch."""

    def __len__(self) -> int:
        """Return the number of items."""

    def __getitem__(self, index: Any, /) -> Any:
        """Return an item."""

    def collate(self, items: Any, /) -> Any:
        """Join items into a batch."""


class PreparedClouds(Dataset[tuple[Data, Neighborhoods]]):
    """Prepared items in memory, augmented when they are taken.

    An index is a plain number for the item as it is, or `(epoch, number)` for its augmented form of that epoch.
    Rotation and scaling leave the neighbourhoods as they were; stretching and small noise move some of their members
    (about one in seven at the defaults), and the saving is worth it. Where points are dropped they are found anew, and
    with them `sigma`.
    """

    def __init__(
        self,
        items: Sequence[tuple[Data, Neighborhoods]],
        backbone: PointNet2,
        augment: Compose | None = None,
        seed: int = 0,
    ) -> None:
        self.items, self.backbone, self.augment, self.seed = items, backbone, augment, seed

    def __len__(self) -> int:
        """Return the number of clouds."""
        return len(self.items)

    def __getitem__(self, index: int | tuple[int, int]) -> tuple[Data, Neighborhoods]:
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

    def collate(self, items: Sequence[tuple[Data, Neighborhoods]]) -> DetectorBatch:
        """Join items into a batch."""
        return collate(items)


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


def collate(items: Sequence[tuple[Data, Neighborhoods]]) -> DetectorBatch:
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


@contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Within it, the weights of new networks follow the seed; the caller's generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(mix_seed(seed, 1))
        yield


def mix_seed(*numbers: int) -> int:
    """One 63-bit seed from several numbers, well apart for neighbouring ones (SplitMix64 steps)."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return state >> 1
