"""The networks of image runs, built by their settings."""

from __future__ import annotations

from pcsargmax.models.retina_net import RetinaNet
from pcsargmax.models.simple_pose import SimplePose
from pcsargmax.settings.images import ImageSettings


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
