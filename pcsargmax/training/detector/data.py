"""Data as training takes them: normalised once, augmented afresh, items a function of (seed, epoch, index)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform, Compose

from pcsargmax.settings.detector import TrainSettings
from pcsargmax.transforms.augment import (
    PointDropout,
    RandomJitter,
    RandomMirror,
    RandomRotation,
    RandomScale,
    RandomWarp,
    find_mirror_pairs,
)


def augmentation(settings: TrainSettings, items: Sequence[Data]) -> Compose:
    """The random transforms of the settings; `items` (unit frame) tell which keypoints a reflection exchanges."""
    steps: list[BaseTransform] = []
    if settings.mirror != "none":
        steps.append(RandomMirror(settings.mirror, mirror_pairs(items, settings.mirror)))
    if settings.rotate:
        steps.append(RandomRotation(settings.rotate, settings.rotate_axis))
    if settings.scale:
        steps.append(RandomScale(1 - settings.scale, 1 + settings.scale))
    if settings.stretch:
        steps.append(RandomScale(1 - settings.stretch, 1 + settings.stretch, per_axis=True))
    if settings.warp:
        steps.append(RandomWarp(settings.warp))
    if settings.jitter:
        steps.append(RandomJitter(settings.jitter, clip=3 * settings.jitter))
    if settings.drop_points:
        steps.append(PointDropout(settings.drop_points))
    return Compose(steps)


def mirror_pairs(items: Sequence[Data], axis: str) -> Tensor:
    """Which keypoints of the items (unit frame) a reflection exchanges, (K,); see `find_mirror_pairs`."""
    keypoints = torch.cat([item.keypoint_pos for item in items])
    visible = torch.cat([item.keypoint_visible for item in items])
    return find_mirror_pairs(keypoints, visible, axis)
