"""The networks of image runs, built by their settings."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from pcsargmax.models.retina_net import RetinaNet
from pcsargmax.models.simple_pose import SimplePose
from pcsargmax.settings.images import ImageSettings

NetworkT = TypeVar("NetworkT", bound=nn.Module)


def build_pose(settings: ImageSettings, num_keypoints: int, *, weights: bool = True) -> SimplePose:
    """The network of a run for keypoints; `weights` takes those of the settings to begin with."""
    return SimplePose(
        num_keypoints,
        settings.trunk,
        size=settings.size,
        depth_bins=settings.depth_bins or None,
        deconv_channels=settings.deconv_channels,
        weights=settings.weights if weights and settings.weights else None,
    )


def build_retina(settings: ImageSettings, num_surfaces: int) -> RetinaNet:
    """The network of a run for surfaces."""
    return RetinaNet(num_surfaces, channels=settings.channels)


def channels_last(network: NetworkT) -> NetworkT:
    """Return the network with weights laid out channels last: up to twice as fast on CPUs, the same up to rounding."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
