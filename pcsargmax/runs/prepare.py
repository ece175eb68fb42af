"""Clouds as networks take them."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy

import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch_geometric.data import Data

from pcsargmax.backbones.pointnet2 import Neighborhoods, PointNet2
from pcsargmax.models.keypoint_detector import Scores
from pcsargmax.models.second_look import DensePoints
from pcsargmax.ops.neighbors import farthest_point_order, mean_neighbor_distance
from pcsargmax.runs.sources import source_of
from pcsargmax.runs.symmetry import carry_labelings
from pcsargmax.settings.common import CloudSettings
from pcsargmax.settings.discovery import DiscoverSettings
from pcsargmax.transforms.frames import NormalizeFrame, NormalizeMinMax


def prepare(
    item: Data, backbone: PointNet2, normalize: Callable[[Data], Data] | None = None
) -> tuple[Data, Neighborhoods]:
    """Put a cloud item into its frame and farthest-point order and find its neighbourhoods.

    The item gains `sigma (1,)`, the mean neighbour distance in that frame: the unit frame, or the one that
    `normalize` makes. One with `dense_pos (D, 3)` gains `dense_site (D,)`, the nearest of its points to each of these.
    """
    item = carry_labelings(normalize or NormalizeFrame(), item)
    if not item.get("farthest_order"):
        item = reorder(item, farthest_point_order(item.pos))
    item.sigma = mean_neighbor_distance(item.pos)
    find_dense_sites(item)
    return item, backbone.neighborhoods(item.pos)


def find_dense_sites(item: Data) -> None:
    """Set `dense_site` of an item, where it has dense points, which are float32 then as the others are."""
    if "dense_pos" in item:
        nearest = cKDTree(item.pos.numpy()).query(item.dense_pos.numpy())[1]
        item.dense_site = torch.from_numpy(nearest)


def thin_dense(item: Data, most: int, generator: torch.Generator | None = None) -> Data:
    """Return a copy of an item with `most` of its dense points, the first or random ones; itself if it has no more."""
    if "dense_pos" not in item or len(item.dense_pos) <= most:
        return item
    rows: Tensor | slice = slice(most)
    if generator is not None:
        rows = torch.randperm(len(item.dense_pos), generator=generator)[:most]
    item = copy(item)
    for key in ("dense_pos", "dense_site"):
        if key in item:
            item[key] = item[key][rows]
    return item


def dense_points(item: Data, most: int) -> DensePoints | None:
    """Return the first dense points, at most so many, of one prepared cloud as a batch; None where it has none."""
    if "dense_pos" not in item:
        return None
    item = thin_dense(item, most)
    return DensePoints(item.dense_pos.float()[None], item.dense_site[None])


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


def frame_of(settings: DiscoverSettings) -> NormalizeMinMax:
    """The transform into the frame of the run."""
    centered = settings.frame == "centered" or (settings.frame == "auto" and source_of(settings) == "folder")
    return NormalizeMinMax(centered=centered)


def basis_sigma(settings: CloudSettings, neighbor_distance: Tensor, frame_scale: Tensor) -> Tensor:
    """Width of the basis in the frame of the points, (B,).

    Args:
        settings: `sigma` is "auto", the mean neighbour distance, or a length in raw units.
        neighbor_distance: (B,) mean distance of neighbours, in that frame.
        frame_scale: (B, 1) raw length of one unit.
    """
    if settings.sigma == "auto":
        return neighbor_distance
    return (settings.sigma / frame_scale.squeeze(1)).to(neighbor_distance.dtype)


def dense_sigma(sigma: Tensor, scores: Scores, dense: DensePoints | None) -> Tensor:
    """Width of the basis around dense points (B,): that of the sites at the density of the dense points."""
    if dense is None:
        return sigma
    count = scores.sites.shape[1] if scores.mask is None else scores.mask.sum(dim=1)
    dense_count = dense.pos.shape[1] if dense.mask is None else dense.mask.sum(dim=1)
    return sigma * (count / dense_count) ** 0.5
