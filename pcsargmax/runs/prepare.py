"""Clouds as networks take them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch_geometric.data import Data

from pcsargmax.backbones.pointnet2 import Neighborhoods, PointNet2
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
